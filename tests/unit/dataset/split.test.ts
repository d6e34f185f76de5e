/** The split: what goes where, and what never can, whether its images are held or written to files on the way. */
import { describe, expect, it } from 'vitest';
import { Sorted } from '../../../dataset/sorted.ts';
import { split as splitSorted, type Candidate, type Drawn, type SplitRequest } from '../../../dataset/split.ts';
import type { PartName } from '../../../store/index.ts';
import { sha256 } from '../../../store/index.ts';

interface Split extends Drawn {
  /** Places in the list of candidates. */
  readonly parts: Record<PartName, number[]>;
}

async function split(candidates: readonly Candidate[], names: readonly string[], request: SplitRequest, heldBytesMax?: number): Promise<Split> {
  const parts: Split['parts'] = { labeled: [], unlabeled: [], validation: [], test: [] };
  const sorted = async function* () {
    yield* candidates.map((each, at) => ({ ...each, at })).sort((a, b) => (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : a.at - b.at));
  };
  return { ...(await splitSorted(sorted(), names, request, (part, { at }) => void parts[part].push(at), () => new Sorted(heldBytesMax))), parts };
}

const candidate = (name: string, label: number | undefined, pool: Candidate['pool'] = 'train'): Candidate => ({ digest: sha256(name), class: label, pool });
const classes = ['a', 'b', 'c'];
/** 60 of class a, 30 of b, 10 of c. */
const hundred = Array.from({ length: 100 }, (_, at) => candidate(`image ${at}`, at < 60 ? 0 : at < 90 ? 1 : 2));
const digests = (candidates: readonly Candidate[], drawn: Split) => Object.fromEntries(Object.entries(drawn.parts).map(([part, rows]) => [part, rows.map((row) => candidates[row]?.digest ?? '').sort()]));
const sizes = ({ parts }: Split) => ({ labeled: parts.labeled.length, unlabeled: parts.unlabeled.length, validation: parts.validation.length, test: parts.test.length });
const counts = (candidates: readonly Candidate[], rows: readonly number[]) => classes.map((_, label) => rows.filter((row) => candidates[row]?.class === label).length);

describe('a split', () => {
  it('puts every image into one part', async () => {
    const drawn = await split(hundred, classes, { seed: 1, labeledPerClass: 2, validation: 20, test: 0.1 });
    expect(sizes(drawn)).toEqual({ test: 10, validation: 20, labeled: 6, unlabeled: 64 });
    expect(new Set(Object.values(drawn.parts).flat()).size).toBe(100);
  });

  it('draws the same whatever the order of the source', async () => {
    const request: SplitRequest = { seed: 3, labeled: 12, validation: 0.2, test: 10, unlabeled: 30 };
    const reversed = hundred.toReversed();
    expect(digests(reversed, await split(reversed, classes, request))).toEqual(digests(hundred, await split(hundred, classes, request)));
    expect(digests(hundred, await split(hundred, classes, { ...request, seed: 4 }))).not.toEqual(digests(hundred, await split(hundred, classes, request)));
  });

  it('draws validation and test in the classes\' proportions, and labeled as it was asked', async () => {
    const drawn = await split(hundred, classes, { seed: 1, labeledPerClass: 2, validation: 20, test: 10 });
    expect(counts(hundred, drawn.parts.test)).toEqual([6, 3, 1]);
    expect(counts(hundred, drawn.parts.validation)).toEqual([12, 6, 2]);
    expect(counts(hundred, drawn.parts.labeled)).toEqual([2, 2, 2]);
    expect(counts(hundred, (await split(hundred, classes, { seed: 1, labeled: 10 })).parts.labeled)).toEqual([6, 3, 1]);
    expect(counts(hundred, (await split(hundred, classes, { seed: 1, labeled: 3 })).parts.labeled)).toEqual([1, 1, 1]);
  });

  it('keeps a smaller labeled draw within a larger one', async () => {
    const few = new Set(digests(hundred, await split(hundred, classes, { seed: 1, labeledPerClass: 2 }))['labeled']);
    const more = new Set(digests(hundred, await split(hundred, classes, { seed: 1, labeledPerClass: 5 }))['labeled']);
    expect([...few].filter((digest) => !more.has(digest))).toEqual([]);
  });

  it('labels everything that is not held out when no labeled count is asked for', async () => {
    expect(sizes(await split(hundred, classes, { seed: 1, validation: 0.25 }))).toEqual({ labeled: 75, unlabeled: 0, validation: 25, test: 0 });
  });

  it('drops exact copies: extra ones within a part, and those of held-out images from the training side', async () => {
    const candidates = [
      ...hundred,
      candidate('image 0', 0), candidate('image 1', 0),
      candidate('image 2', 0, 'test'), candidate('image 2', 0, 'test'), candidate('image 61', 1, 'test'),
      candidate('image 3', undefined, 'unlabeled'), candidate('new', undefined, 'unlabeled'), candidate('new', undefined, 'unlabeled'),
    ];
    const drawn = await split(candidates, classes, { seed: 1, labeledPerClass: 2 });
    expect(drawn.dropped).toEqual({ duplicates: 4, straddling: 3 });
    const all = Object.values(drawn.parts).flat().map((row) => candidates[row]?.digest);
    expect(new Set(all).size).toBe(all.length);
    expect(drawn.parts.test.map((row) => candidates[row]?.digest ?? '').sort()).toEqual([sha256('image 2'), sha256('image 61')].sort());
    // The labeled copy of an image stays, not the one without a label.
    expect(all.filter((digest) => digest === sha256('image 3'))).toHaveLength(1);
    expect(drawn.parts.unlabeled).not.toContain(105);
  });

  it('keeps an image that comes under two classes once, whatever the order', async () => {
    const candidates = [...hundred, candidate('twice', 2), candidate('twice', 1)];
    for (const given of [candidates, candidates.toReversed()]) {
      const drawn = await split(given, classes, { seed: 1 });
      expect(drawn.contradictory).toBe(1);
      expect(drawn.dropped.duplicates).toBe(1);
      expect(drawn.parts.labeled.filter((row) => given[row]?.digest === sha256('twice')).map((row) => given[row]?.class)).toEqual([1]);
    }
  });

  it('says what there is too little of', async () => {
    const expectTooSmall = (request: Partial<SplitRequest>, message: string): Promise<void> => expect(split(hundred, classes, { seed: 1, ...request })).rejects.toMatchObject({ code: 'DATASET_TOO_SMALL', message: expect.stringContaining(message) });
    await expectTooSmall({ labeledPerClass: 11 }, 'class "c" has 10 labeled images left where 11 a class are asked for');
    await expectTooSmall({ labeled: 101 }, 'labeled asks for 101 images where 100 are left');
    await expectTooSmall({ labeled: 2 }, 'fewer than the 3 classes');
    await expectTooSmall({ validation: 101 }, 'validation asks for 101');
    await expectTooSmall({ test: 60, validation: 50 }, 'validation asks for 50 labeled images where 40 are left');
    await expectTooSmall({ labeledPerClass: 2, unlabeled: 95 }, 'unlabeled asks for 95 images where 94 are left');
  });

  it('names the classes without a labeled image, before and after holding out', async () => {
    const two = hundred.filter((each) => each.class !== 2);
    await expect(split(two, classes, { seed: 1 })).rejects.toMatchObject({ code: 'DATASET_CLASS_EMPTY', message: 'no labeled image of class "c" was found' });
    await expect(split([...two, candidate('only', 2)], classes, { seed: 1, validation: 91 })).rejects.toMatchObject({ code: 'DATASET_CLASS_EMPTY' });
  });

  it('draws the same where it holds nearly nothing in memory', async () => {
    const request: SplitRequest = { seed: 3, labeled: 12, validation: 0.2, test: 10, unlabeled: 30 };
    expect(await split(hundred, classes, request, 500)).toEqual(await split(hundred, classes, request));
  });

  it('takes a set without labels as unlabeled', async () => {
    const none = hundred.map((each) => ({ ...each, class: undefined, pool: 'unlabeled' as const }));
    expect(sizes(await split(none, [], { seed: 1, validation: 0.1 }))).toEqual({ labeled: 0, unlabeled: 100, validation: 0, test: 0 });
    await expect(split(none, [], { seed: 1, validation: 5 })).rejects.toMatchObject({ code: 'DATASET_TOO_SMALL' });
  });
});
