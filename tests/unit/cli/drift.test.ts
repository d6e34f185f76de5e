/** What describe and report tell of labels that changed from one teacher to the next. Figures are chosen, not computed. */
import { expect, test } from 'vitest';
import { describeRun } from '../../../cli/describe.ts';
import { driftRows } from '../../../cli/drift.ts';
import { renderReport } from '../../../cli/report/page.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { finishedRun } from './fixture.ts';

function drifted(alarm: boolean): RunView {
  const view = finishedRun();
  const iterations = view.iterations.map((each) => (each.iteration !== 2 ? each : {
    ...each, precisionDrift: { correctBefore: 4500, totalBefore: 4600, correctAfter: 4480, totalAfter: 4676, alarm },
    selection: {
      ...each.selection!, drift: {
        drift: each.selection!.selection, samples: 54_900, flips: 1098, confidenceBefore: 0.91, confidenceAfter: 0.96,
        classes: [{ from: 4, to: 9, samples: 310 }, { from: 9, to: 4, samples: 300 }, { from: 3, to: 5, samples: 120 }, { from: 5, to: 3, samples: 1 }],
        shards: [{ shard: 'unlabeled-000007', samples: 2000, flips: 130 }, { shard: 'unlabeled-000001', samples: 2000, flips: 0 }],
      },
    },
  }));
  return { ...view, iterations };
}

test('one row for each iteration whose labels were compared, the most frequent pairs by name', () => {
  expect(driftRows(drifted(false))).toEqual([{
    title: '2', compared: '54,900', flips: '1,098 (2.00 %)', confidence: '91.00 % → 96.00 %', precision: '97.83 % → 95.81 %',
    pairs: '<b>four</b> → nine 310, nine → <b>four</b> 300, three → five & "six" 120', shards: 'unlabeled-000007 6.5 %', alarm: false,
  }]);
  expect(driftRows(drifted(true))[0]?.precision).toBe('97.83 % → 95.81 % !');
});

test('it stands in describe and, escaped, in the report; where nothing was compared neither has it', () => {
  expect(describeRun(drifted(true), 200)).toContain('1,098 (2.00 %)');
  const page = renderReport({ view: drifted(true), audits: [], missing: [], version: '0.0.0' });
  for (const told of ['How labels changed', '&lt;b&gt;four&lt;/b&gt; → nine 310', '97.83 % → 95.81 % !']) expect(page).toContain(told);
  expect(describeRun(finishedRun(), 200)).not.toContain('LABELS COMPARED');
  expect(renderReport({ view: finishedRun(), audits: [], missing: [], version: '0.0.0' })).not.toContain('How labels changed');
});
