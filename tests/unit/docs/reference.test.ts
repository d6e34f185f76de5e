/** The pages of docs/reference are what the code says now. `npm run docs` writes them (vitest's --update). */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorTable } from '../../../proto/errors.ts';
import { pages, root, textOf } from '../../harness/docs.ts';
import { referencePages } from '../../harness/reference.ts';

test.each(Object.entries(referencePages))('%s', async (name, write) => {
  await expect(write(), `docs/reference/${name}.md is not what the code says: npm run docs`).toMatchFileSnapshot(join(root, 'docs/reference', `${name}.md`));
});

test('there are no other pages of the kind', () => {
  expect(readdirSync(join(root, 'docs/reference')).sort()).toEqual(Object.keys(referencePages).map((name) => `${name}.md`).sort());
});

test('codes of errors in other pages are codes of the table', () => {
  for (const page of pages()) for (const [, code = ''] of textOf(page).matchAll(/`\[([A-Z_]+)\]`/g)) expect(Object.keys(errorTable), `${page}: ${code}`).toContain(code);
});

/** As GitHub makes them of headings. */
const anchorsOf = (text: string): Set<string> => new Set([...text.replace(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')));

test.each(pages())('%s links to what there is', (page) => {
  const folder = join(root, page, '..');
  for (const [, target = ''] of textOf(page).replace(/^```[^]*?^```$/gm, '').matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? join(root, page) : join(folder, path);
    expect(existsSync(file), `${page}: ${target}`).toBe(true);
    if (anchor !== undefined && file.endsWith('.md')) expect(anchorsOf(readFileSync(file, 'utf8')), `${page}: ${target}`).toContain(anchor);
  }
});
