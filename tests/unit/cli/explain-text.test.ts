/** What a person reads of a sample, a lineage and a model made again: every outcome and reason in its words. Figures are chosen. */
import { describe, expect, test } from 'vitest';
import { sampleText } from '../../../cli/explain-text.ts';
import type { IterationExplained, SampleExplained } from '../../../proto/told.ts';
import { lineageText, type LineageStep } from '../../../cli/lineage.ts';
import { isReproduced, reproducedText, type ModelReproduced } from '../../../cli/reproduce.ts';

const label = { class: 7, name: 'seven', logOdds: 2.25, confidence: 0.9047, table: 't', probabilities: ['seven', 'one', 'nine', 'two', 'three', 'four'].map((name, at) => ({ class: at, name, probability: 0.9047 / 4 ** at })) };
const base: IterationExplained = { iteration: 2, try: 0, decision: 'promoted', teacher: { sha256: 'a'.repeat(64), iteration: 1 }, label, threshold: { confidence: 0.3, measured: undefined, logOdds: -0.8473 }, outcome: 'kept', copies: 1, reason: { kind: 'within-budget' } };
const textOf = (wishes: Partial<IterationExplained>, truth: SampleExplained['truth'] = { class: 1, name: 'one' }): string =>
  sampleText({ run: 'mnist-4f2a91', key: '3fa95e', shard: 'unlabeled-000003', dataset: 'mnist#unlabeled', ...(truth === undefined ? {} : { truth }), iterations: [{ ...base, ...wishes }] });
const line = (text: string, name: string): string => new RegExp(`^ {2}${name} +(.*)$`, 'm').exec(text)?.[1] ?? '';
const few = { eligible: 3000, budget: 5421, copies: 1, oneMore: 2421, rankFrom: 100, rankTo: 160 };
const many = { eligible: 6000, budget: 5421, copies: 0, oneMore: 5421, rankFrom: 5425, rankTo: 5425, cutLogOdds: 2.25 };

describe('why a label was kept or dropped', () => {
  test.each<[string, Partial<IterationExplained>, string, string]>([
    ['repeated', { copies: 2, reason: { kind: 'above-cut', by: 'log-odds' }, ranking: few }, 'Iteration 2: kept and repeated: twice', '3,000 labels of seven at or above the threshold for a budget of 5,421: each is taken once and the 2,421 most confident once more, and it has place 101 to 161'],
    ['not among those repeated', { copies: 1, reason: { kind: 'below-cut', by: 'log-odds' }, ranking: { ...few, rankFrom: 2421, rankTo: 2421, cutLogOdds: 2.5 } }, 'Iteration 2: kept, once', '3,000 labels of seven at or above the threshold for a budget of 5,421: each is taken once and only the 2,421 most confident once more, and it has place 2,422; the cut is at log-odds 2.5000'],
    ['over the budget', { outcome: 'dropped', copies: 0, reason: { kind: 'below-cut', by: 'hash' }, ranking: many }, 'Iteration 2: dropped', '6,000 labels of seven at or above the threshold for a budget of 5,421: only the 5,421 most confident are taken, and it has place 5,426; labels on both sides of the cut have its log-odds, and the seeded hash of its key decided'],
    ['as often as may be', { copies: 10, reason: { kind: 'within-budget' }, ranking: { eligible: 30, budget: 5421, copies: 10, oneMore: 0, rankFrom: 3, rankTo: 3 } }, 'Iteration 2: kept and repeated: 10 times', '30 labels of seven at or above the threshold for a budget of 5,421: each is taken 10 times, the most that labels.copies_max allows'],
    ['below the threshold', { outcome: 'dropped', copies: 0, reason: { kind: 'below-threshold' } }, 'Iteration 2: dropped', 'its confidence is below the threshold'],
    ['like an image that judges', { outcome: 'left-out', copies: 0, reason: { kind: 'near-duplicate', part: 'test', of: '9c01', distance: 1, correlation: 0.99712 } }, 'Iteration 2: left out', 'it looks like 9c01, which is for test: the hashes differ in 1 bit of 64, the correlation is 0.9971'],
    ['labeled by a person', { outcome: 'left-out', copies: 0, reason: { kind: 'reviewed' } }, 'Iteration 2: left out', 'a person gave it a label, and it is learned from by that'],
    ['lost', { try: 1, outcome: 'lost', copies: 0, reason: { kind: 'shard-quarantined', why: '3 attempts failed' } }, 'Iteration 2, try 2: lost with its shard', 'the shard is quarantined: 3 attempts failed'],
    ['not there yet', { outcome: 'waiting', copies: 0, reason: { kind: 'not-yet' } }, 'Iteration 2: not labeled yet', 'as of the run\'s last manifest'],
  ])('%s', (_, wishes, title, why) => {
    const text = textOf(wishes);
    expect(text).toContain(`\n\n${title}\n`);
    expect(line(text, 'Why')).toBe(why);
  });

  test('five classes are shown, and whether the label is right only where the truth is known', () => {
    expect(line(textOf({}), 'Probabilities')).toBe('seven 90.47 %, one 22.62 %, nine 5.65 %, two 1.41 %, three 0.35 %');
    expect(line(textOf({}), 'Label')).toBe('seven, which is wrong: it is one');
    expect(line(textOf({}, { class: 7, name: 'seven' }), 'Label')).toBe('seven, which is right');
    const unknown = sampleText({ run: 'r', key: 'k', shard: 's', dataset: 'd', iterations: [base] });
    expect(line(unknown, 'Label')).toBe('seven');
    expect(unknown).toMatch(/^True label +not known$/m);
  });

  test('a threshold says where it came from', () => {
    // As it comes through JSON, which has no infinity.
    expect(line(textOf({ threshold: JSON.parse(JSON.stringify({ confidence: 0, logOdds: -Infinity })) as NonNullable<IterationExplained['threshold']> }), 'Threshold')).toBe('0, the recipe\'s labels.threshold');
    expect(line(textOf({}), 'Threshold')).toBe('0.3, the recipe\'s labels.threshold; log-odds -0.8473');
    expect(line(textOf({ threshold: { confidence: 0.95, logOdds: 2.944, measured: { wanted: 0.99, correct: 4480, total: 4500, least: 0.991, reached: true } } }), 'Threshold'))
      .toBe('0.95, for labels.precision 0.99: of validation\'s predictions from there on 4,480 of 4,500 were right, at least 99.10 % (95 % bound); log-odds 2.9440');
  });
});

test('a lineage is indented step by step, from the model to its first teacher', () => {
  const step = (wishes: Partial<LineageStep>): LineageStep => ({ run: 'r', role: 'student', decision: 'promoted', best: false, model: { key: 'k', sha256: 'b'.repeat(64), bytes: 1 }, architecture: 'cnn width=8', parameters: 1200, task: 't', ...wishes });
  const first = step({ iteration: 0, try: 0, role: 'imported', url: 'https://models/x' });
  const student = step({ iteration: 1, try: 1, best: true, teacher: first });
  const titles = lineageText(step({ iteration: 1, try: 1, role: 'fine-tuned', decision: '', begin: student })).split('\n').filter((each) => /iteration/.test(each));
  expect(titles).toEqual([
    'iteration 1, try 2: student after fine-tuning', '  └ began with iteration 1, try 2: student, promoted, the run\'s best', '    └ labels by iteration 0: first teacher, from elsewhere, promoted',
  ]);
});

describe('a model made again', () => {
  const machine = { platform: 'linux/x64', processor: 'EPYC', threads: 2, version: '0.1.0' };
  const made = (wishes: Partial<ModelReproduced>): ModelReproduced => ({ run: 'r', model: 'b'.repeat(64), parts: [], tasks: [], machine, ...wishes });
  const differing = made({
    parts: [{ part: 'labels', verdict: 'unchecked', tasks: 28, deviceMs: 40_000 }, { part: 'selection', verdict: 'same', tasks: 1, deviceMs: 0 }, { part: 'weights', verdict: 'differs', tasks: 1, deviceMs: 61_000 }],
    tasks: [{ taskId: 'i2.train', kind: 'train', subject: 'student', verdict: 'differs', outputs: [{ name: 'model', accepted: 'b'.repeat(64), again: 'c'.repeat(64) }], note: '5 of 100 weights differ', machine: { ...machine, threads: 4 } }],
  });

  test('says what is the same, what differs, what was not looked at, and what must be equal', () => {
    const text = reproducedText(differing);
    for (const told of [/^Labels +not checked: --labels does it, labeling again takes about 40 s/m, /^Selection +the same digests, of 1 task$/m, /^Weights +DIFFERS$/m, /^model again +sha256 c{64}$/m, /^Trained on +EPYC, linux\/x64, 4 threads, release 0.1.0$/m, /^Again on +EPYC, linux\/x64, 2 threads/m, /^Weights come out the same to the bit with the same release/m]) expect(text).toMatch(told);
    expect(isReproduced(differing)).toBe(false);
  });

  test('is reproduced where nothing that was looked at differs', () => {
    expect(isReproduced(made({ parts: [{ part: 'labels', verdict: 'absent', tasks: 0, deviceMs: 0 }, { part: 'weights', verdict: 'unchecked', tasks: 1, deviceMs: 1 }] }))).toBe(true);
    expect(isReproduced(made({ parts: [{ part: 'selection', verdict: 'failed', tasks: 1, deviceMs: 0 }] }))).toBe(false);
  });
});
