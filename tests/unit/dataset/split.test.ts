/** The split as a pure function: what goes where, and what never can. */
import { describe, expect, it } from 'vitest';
import { split, type Candidate, type Split, type SplitRequest } from '../../../dataset/split.ts';
import { sha256 } from '../../../store/index.ts';

const candidate = (name: string, label: number | undefined, pool: Candidate['pool'] = 'train'): Candidate => ({ digest: sha256(name), class: label, pool });
const classes = ['a', 'b', 'c'];
/** 60 of class a, 30 of b, 10 of c. */
const hundred = Array.from({ length: 100 }, (_, at) => candidate(`image ${at}`, at < 60 ? 0 : at < 90 ? 1 : 2));
const digests = (candidates: readonly Candidate[], drawn: Split) => Object.fromEntries(Object.entries(drawn.parts).map(([part, rows]) => [part, rows.map((row) => candidates[row]?.digest ?? '').sort()]));
const sizes = ({ parts }: Split) => ({ labeled: parts.labeled.length, unlabeled: parts.unlabeled.length, validation: parts.validation.length, test: parts.test.length });
const counts = (candidates: readonly Candidate[], rows: readonly number[]) => classes.map((_, label) => rows.filter((row) => candidates[row]?.class === label).length);

describe('a split', () => {
  it('puts every image into one part', () => {
    const drawn = split(hundred, classes, { seed: 1, labeledPerClass: 2, validation: 20, test: 0.1 });
    expect(sizes(drawn)).toEqual({ test: 10, validation: 20, labeled: 6, unlabeled: 64 });
    expect(new Set(Object.values(drawn.parts).flat()).size).toBe(100);
  });

  it('draws the same whatever the order of the source', () => {
    const request: SplitRequest = { seed: 3, labeled: 12, validation: 0.2, test: 10, unlabeled: 30 };
    const reversed = hundred.toReversed();
    expect(digests(reversed, split(reversed, classes, request))).toEqual(digests(hundred, split(hundred, classes, request)));
    expect(digests(hundred, split(hundred, classes, { ...request, seed: 4 }))).not.toEqual(digests(hundred, split(hundred, classes, request)));
  });

  it('draws validation and test in the classes\' proportions, and labeled as it was asked', () => {
    const drawn = split(hundred, classes, { seed: 1, labeledPerClass: 2, validation: 20, test: 10 });
    expect(counts(hundred, drawn.parts.test)).toEqual([6, 3, 1]);
    expect(counts(hundred, drawn.parts.validation)).toEqual([12, 6, 2]);
    expect(counts(hundred, drawn.parts.labeled)).toEqual([2, 2, 2]);
    expect(counts(hundred, split(hundred, classes, { seed: 1, labeled: 10 }).parts.labeled)).toEqual([6, 3, 1]);
    expect(counts(hundred, split(hundred, classes, { seed: 1, labeled: 3 }).parts.labeled)).toEqual([1, 1, 1]);
  });

  it('keeps a smaller labeled draw within a larger one', () => {
    const few = new Set(digests(hundred, split(hundred, classes, { seed: 1, labeledPerClass: 2 }))['labeled']);
    const more = new Set(digests(hundred, split(hundred, classes, { seed: 1, labeledPerClass: 5 }))['labeled']);
    expect([...few].filter((digest) => !more.has(digest))).toEqual([]);
  });

  it('labels everything that is not held out when no labeled count is asked for', () => {
    expect(sizes(split(hundred, classes, { seed: 1, validation: 0.25 }))).toEqual({ labeled: 75, unlabeled: 0, validation: 25, test: 0 });
  });

  it('drops exact copies: extra ones within a part, and those of held-out images from the training side', () => {
    const candidates = [
      ...hundred,
      candidate('image 0', 0), candidate('image 1', 0),
      candidate('image 2', 0, 'test'), candidate('image 2', 0, 'test'), candidate('image 61', 1, 'test'),
      candidate('image 3', undefined, 'unlabeled'), candidate('new', undefined, 'unlabeled'), candidate('new', undefined, 'unlabeled'),
    ];
    const drawn = split(candidates, classes, { seed: 1, labeledPerClass: 2 });
    expect(drawn.dropped).toEqual({ duplicates: 4, straddling: 3 });
    const all = Object.values(drawn.parts).flat().map((row) => candidates[row]?.digest);
    expect(new Set(all).size).toBe(all.length);
    expect(drawn.parts.test.map((row) => candidates[row]?.digest ?? '').sort()).toEqual([sha256('image 2'), sha256('image 61')].sort());
    // The labeled copy of an image stays, not the one without a label.
    expect(all.filter((digest) => digest === sha256('image 3'))).toHaveLength(1);
    expect(drawn.parts.unlabeled).not.toContain(105);
  });

  it('keeps an image that comes under two classes once, whatever the order', () => {
    const candidates = [...hundred, candidate('twice', 2), candidate('twice', 1)];
    for (const given of [candidates, candidates.toReversed()]) {
      const drawn = split(given, classes, { seed: 1 });
      expect(drawn.contradictory).toBe(1);
      expect(drawn.dropped.duplicates).toBe(1);
      expect(drawn.parts.labeled.filter((row) => given[row]?.digest === sha256('twice')).map((row) => given[row]?.class)).toEqual([1]);
    }
  });

  it('says what there is too little of', () => {
    const expectTooSmall = (request: Partial<SplitRequest>, message: string): void => expect(() => split(hundred, classes, { seed: 1, ...request })).toThrow(expect.objectContaining({ code: 'DATASET_TOO_SMALL', message: expect.stringContaining(message) as string }) as Error);
    expectTooSmall({ labeledPerClass: 11 }, 'class "c" has 10 labeled images left where 11 a class are asked for');
    expectTooSmall({ labeled: 101 }, 'labeled asks for 101 images where 100 are left');
    expectTooSmall({ labeled: 2 }, 'fewer than the 3 classes');
    expectTooSmall({ validation: 101 }, 'validation asks for 101');
    expectTooSmall({ test: 60, validation: 50 }, 'validation asks for 50 labeled images where 40 are left');
    expectTooSmall({ labeledPerClass: 2, unlabeled: 95 }, 'unlabeled asks for 95 images where 94 are left');
  });

  it('names the classes without a labeled image, before and after holding out', () => {
    const two = hundred.filter((each) => each.class !== 2);
    expect(() => split(two, classes, { seed: 1 })).toThrow(expect.objectContaining({ code: 'DATASET_CLASS_EMPTY', message: 'no labeled image of class "c" was found' }) as Error);
    expect(() => split([...two, candidate('only', 2)], classes, { seed: 1, validation: 91 })).toThrow(expect.objectContaining({ code: 'DATASET_CLASS_EMPTY' }) as Error);
  });

  it('takes a set without labels as unlabeled', () => {
    const none = hundred.map((each) => ({ ...each, class: undefined, pool: 'unlabeled' as const }));
    expect(sizes(split(none, [], { seed: 1, validation: 0.1 }))).toEqual({ labeled: 0, unlabeled: 100, validation: 0, test: 0 });
    expect(() => split(none, [], { seed: 1, validation: 5 })).toThrow(expect.objectContaining({ code: 'DATASET_TOO_SMALL' }) as Error);
  });
});
