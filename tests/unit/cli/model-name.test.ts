/** Which model a person means by RUN, RUN/ITERATION and RUN/control, by a history made for it. */
import { expect, test } from 'vitest';
import { RunHistory } from '../../../proto/gen/alumnus/v1/history.ts';
import { sha256Of } from '../../../cli/model-name.ts';

const model = (name: string) => ({ model: { key: name, sha256: name.repeat(64), bytes: 1 } });
const history = (wishes: object = {}, teaches = false): RunHistory => RunHistory.fromPartial({
  runId: 'r', recipeJson: JSON.stringify({ training: { fine_tune: { teaches } } }), control: model('c'), controlFineTuned: model('d'), comparisons: [{ name: 't-4', model: model('7'), fineTuned: model('8'), iteration: 1 }, { name: 'alone', model: model('9') }],
  iterations: [
    { iteration: 0, decision: 'promoted', student: model('0'), fineTuned: model('a') }, { iteration: 1, decision: 'refused', student: model('1') },
    { iteration: 1, try: 1, decision: 'promoted', student: model('2'), fineTuned: model('e') }, { iteration: 2, decision: 'refused', student: model('3') }, { iteration: 2, try: 1, decision: '', student: model('4') }, { iteration: 3 },
  ],
  ...wishes,
});

test.each<[string, RunHistory, string]>([
  ['', history({ bestModel: model('f').model }), 'f'], ['', history(), '2'], ['', history({}, true), 'e'],
  ['0', history(), '0'], ['0', history({}, true), 'a'], ['1', history(), '2'], ['2', history(), '4'], ['control', history(), 'c'], ['control', history({}, true), 'd'], ['t-4', history(), '7'], ['t-4', history({}, true), '8'], ['alone', history({}, true), '9'],
])('"%s"', (which, told, digit) => expect(sha256Of(told, which)).toBe(digit.repeat(64)));

test.each([['3', history()], ['nobody', history()], ['9', history()], ['', history({ iterations: [] })], ['control', history({ control: undefined, controlFineTuned: undefined })]])('"%s" of a run that has none is said so', (which, told) => {
  expect(() => sha256Of(told, which)).toThrow(expect.objectContaining({ code: 'MODEL_NOT_FOUND', where: 'r' }) as Error);
});
