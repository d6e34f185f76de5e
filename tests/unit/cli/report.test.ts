import { describe, expect, test } from 'vitest';
import { parseAudit } from '../../../cli/report/audit.ts';
import { niceTicks, percentDigits, thin } from '../../../cli/report/charts.ts';
import { html } from '../../../cli/report/html.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { auditDocument, finishedRun, runningRun, runThatLostToItsControl } from './fixture.ts';

const render = (view = finishedRun(), withAudits = true): string =>
  renderReport({ view, audits: withAudits ? [1, 2, 3].map((iteration) => ({ iteration, try: 0, document: auditDocument() })) : [], missing: [], version: '0.0.0' });

describe('the report', () => {
  const page = render();

  test('holds the figures of the table', () => {
    for (const figure of ['96.50 %', '96.44 %', '93.80 %', '97.30 %', '54,700', '425,802', 'b 82, c 50, p = 0.007', 'of 500: b 8, c 6, p = 0.79']) expect(page).toContain(figure);
  });
  test('holds the digests of recipe, dataset and models', () => {
    for (const digest of ['d'.repeat(64), '3'.repeat(64), '0'.repeat(12)]) expect(page).toContain(digest);
  });
  test('tells the lineage of each iteration in one line', () => {
    const text = page.slice(page.indexOf('<ol class="lineage"')).split('</li>').map((line) => line.replace(/<[^>]*>/g, '').trim());
    expect(text[0]).toBe('first teacher 000000000000 → evaluation eeeeeeeeeeee → promoted');
    expect(text[1]).toBe('teacher 000000000000 → 54,900 labels → selection 555555555555 → student 111111111111 → evaluation eeeeeeeeeeee → audit aaaaaaaaaaaa → promoted');
  });
  test('needs nothing from elsewhere and runs nothing', () => {
    expect(page).not.toMatch(/<script|<link|@import|javascript:|\son\w+=/i);
    expect([...page.matchAll(/(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)/g)].map(([, target]) => target?.slice(0, 22)).filter((target) => target !== 'data:image/png;base64,')).toEqual([]);
    expect(page).toContain('default-src \'none\'');
  });
  test('escapes names and keys of the user\'s data', () => {
    expect(page).toContain('&lt;b&gt;four&lt;/b&gt;');
    expect(page).toContain('five &amp; &quot;six&quot;');
    expect(page).not.toContain('<b>four');
    expect(page).not.toContain('alert(1)</script>');
  });
  test('shows pictures that are right, wrong and thrown out', () => {
    expect(page.match(/data:image\/png;base64,/g)).toHaveLength(24 + 12 + 5);
    expect(page).toContain('is five &amp; &quot;six&quot;');
  });
  test('names a control that won as the winner', () => expect(render(runThatLostToItsControl())).toContain('does NOT beat the control'));
  test('is there for a run that is under way and has no audit', () => {
    const early = render(runningRun(), false);
    expect(early).toContain('running, iteration 2 of 3');
    expect(early).toContain('is still running');
  });
  test('is there for a run that has just begun', () => {
    const view = runningRun();
    expect(render({ ...view, iterations: [] }, false)).toContain('Nothing is evaluated yet.');
  });
  test('shows the one loss of a training that reported no second', () => {
    const view = finishedRun();
    const short = render({ ...view, control: undefined, iterations: view.iterations.slice(0, 1).map((each) => ({ ...each, model: { ...each.model!, curve: [{ step: 20, loss: 1.5 }] } })) });
    expect(short).toContain('iteration 0: last loss 1.500');
    // By hand: 20 of 20 steps is the right edge, 400 - 10; ticks go to 1.5, the upper edge, 10.
    expect(short).toMatch(/<circle [^>]*cx="390\.0" cy="10\.0"/);
    expect(short).not.toContain('No training has reported');
  });
  test('has no empty number in a drawing', () => expect(page).not.toMatch(/NaN|Infinity|undefined/));
});

test('html escapes whatever is put in, and nothing twice', () => {
  expect(html`<p title="${'"\'<&>'}">${[html`<i>${'<'}</i>`, '&']}</p>`.text).toBe('<p title="&quot;&#39;&lt;&amp;&gt;"><i>&lt;</i>&amp;</p>');
});

test('ticks are round and enclose the values', () => {
  expect(niceTicks(0.913, 0.968)).toEqual([0.9, 0.92, 0.94, 0.96, 0.98]);
  expect(niceTicks(0, 6081, 4)).toEqual([0, 2000, 4000, 6000, 8000]);
});

test('ticks are told with the decimals that they have', () => {
  expect([[0, 0.02, 0.04], [0, 0.025, 0.05], [0.9, 0.9025, 0.905], [-0.001, 0, 0.001]].map(percentDigits)).toEqual([0, 1, 2, 1]);
});

test('a long curve is thinned by means, to its last step', () => {
  const points = thin(Array.from({ length: 1000 }, (_, index) => ({ step: index + 1, loss: index % 2 })), 100);
  expect(points).toHaveLength(100);
  expect(points.at(-1)).toEqual({ step: 1000, loss: 0.5 });
});

describe('an audit document', () => {
  const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  test('is read', () => expect(parseAudit(bytes(auditDocument()), 'x').gallery.wrong).toHaveLength(12));
  test('whose picture is no base64 is refused', () => {
    const document = auditDocument();
    const [first] = document.gallery.right;
    expect(() => parseAudit(bytes({ ...document, gallery: { ...document.gallery, right: [{ ...first, png: '"><script>' }] } }), 'x')).toThrow('gallery.right.0.png');
  });
  test('of a later schema is refused', () => expect(() => parseAudit(bytes({ ...auditDocument(), schemaVersion: 2 }), 'x')).toThrow('another release'));
});
