/**
 * The split: which images are labeled, unlabeled, validation and test. A function of the seed and of each image's
 * content, so neither the order of a source nor the names of its files matter. How many of each class go where is known
 * from counts; which ones, from passes over sorted images, so a set may be larger than memory.
 * Invariants:
 *  1. No image content is in two parts, nor twice in one.
 *  2. Of copies, the one held out stays: test before validation, validation before what trains.
 *  3. Draws are by rank of SHA-256(seed, purpose, content), so asking for more of a part keeps what it had where nothing
 *     else was asked for before it.
 *  4. Memory holds counts by class, whatever the number of images.
 */
import { AlumnusError } from '../proto/errors.ts';
import { sha256, type PartName } from '../store/index.ts';
import type { Sorted } from './sorted.ts';

export interface SplitRequest {
  readonly seed: number;
  /** Labeled images of each class. Neither this nor `labeled`: every labeled image that is not held out. */
  readonly labeledPerClass?: number;
  /** Labeled images in all, drawn in the classes' own proportions, at least one of each. */
  readonly labeled?: number;
  /** A count, or below 1 a share of the labeled images that are not test. Default 0. */
  readonly validation?: number;
  /** How many images to keep unlabeled. Default all that are left. */
  readonly unlabeled?: number;
  /** A count, or below 1 a share; of a source that has a test split of its own none is drawn. Default 0. */
  readonly test?: number;
}

export interface Candidate {
  /** SHA-256 of the image's shape and pixels. */
  readonly digest: string;
  readonly pool: 'train' | 'test' | 'unlabeled';
  readonly class?: number | undefined;
}

export interface Drawn {
  readonly dropped: { readonly duplicates: number; readonly straddling: number };
  /** Contents that came under more than one class; each was kept once, under the class with the lowest index. */
  readonly contradictory: number;
}

/** Named in the manifest; a change of the rule is another name. */
export const SPLIT_METHOD = 'sha256(seed, purpose, pixels); validation and test stratified by class';

const poolRank = { test: 0, train: 1, unlabeled: 2 } as const;

interface Tally {
  duplicates: number;
  straddling: number;
  contradictory: number;
}

/** Each content once: from the pool that is held out first, then under the lowest class. @param candidates copies of one content beside each other */
async function* distinct<Image extends Candidate>(candidates: AsyncIterable<Image>, tally: Tally): AsyncGenerator<Image> {
  let best: Image | undefined;
  let copies = { test: 0, train: 0, unlabeled: 0 };
  let isContradictory = false;
  const close = (): void => {
    if (best === undefined) return;
    const same = copies[best.pool];
    tally.duplicates += same - 1;
    tally.straddling += copies.test + copies.train + copies.unlabeled - same;
    tally.contradictory += isContradictory ? 1 : 0;
  };
  for await (const candidate of candidates) {
    if (best?.digest !== candidate.digest) {
      close();
      if (best !== undefined) yield best;
      [best, copies, isContradictory] = [candidate, { test: 0, train: 0, unlabeled: 0 }, false];
    }
    copies[candidate.pool] += 1;
    isContradictory ||= best.class !== undefined && candidate.class !== undefined && best.class !== candidate.class;
    const order = poolRank[candidate.pool] - poolRank[best.pool] || (candidate.class ?? Infinity) - (best.class ?? Infinity);
    if (order < 0) best = candidate;
  }
  close();
  if (best !== undefined) yield best;
}

const shareOf = (asked: number, available: number): number => (asked < 1 ? Math.floor(asked * available) : asked);

type Counts = Map<number, number>;

const totalOf = (counts: Counts): number => [...counts.values()].reduce((sum, count) => sum + count, 0);

/** `count` over classes in proportion to their sizes, by largest remainder, ties to the lower class; at least `least` of each. */
function proportional(sizes: Counts, count: number, least: number): Counts {
  const total = totalOf(sizes);
  const exact = [...sizes].map(([label, size]) => ({ label, size, exact: total === 0 ? 0 : (count * size) / total }));
  const wanted = new Map(exact.map((each) => [each.label, Math.min(each.size, Math.max(least, Math.floor(each.exact)))]));
  const given = (): number => totalOf(wanted);
  const byRemainder = exact.toSorted((a, b) => (b.exact % 1) - (a.exact % 1) || a.label - b.label);
  while (given() < count) {
    const before = given();
    for (const { label, size } of byRemainder) if (given() < count && (wanted.get(label) ?? 0) < size) wanted.set(label, (wanted.get(label) ?? 0) + 1);
    if (given() === before) break;
  }
  // `least` may have given more than was asked: the largest classes give it back.
  for (const { label } of exact.toSorted((a, b) => b.size - a.size || a.label - b.label)) {
    while (given() > count && (wanted.get(label) ?? 0) > least) wanted.set(label, (wanted.get(label) ?? 0) - 1);
  }
  return wanted;
}

/** By class, and within one by rank. */
const drawOrder = (label: number, rank: string): string => `${String(label).padStart(5, '0')} ${rank}`;

const rankOf = (seed: number, purpose: string, digest: string): string => sha256(`${seed}\n${purpose}\n${digest}`);

/**
 * @param candidates by rising digest. @param classes names; every one of them must have labeled images.
 * @param put told where each image goes; of one that was left out nothing is told. @param newSort for images between two passes; closed here
 * @throws AlumnusError DATASET_TOO_SMALL, DATASET_CLASS_EMPTY
 */
export async function split<Image extends Candidate>(candidates: AsyncIterable<Image>, classes: readonly string[], request: SplitRequest, put: (part: PartName, image: Image) => Promise<void> | void, newSort: () => Sorted<Image>): Promise<Drawn> {
  const { seed, test = 0, validation = 0, labeled, labeledPerClass, unlabeled } = request;
  const tooSmall = (what: string): AlumnusError => new AlumnusError('DATASET_TOO_SMALL', what, { where: 'split' });
  const tally: Tally = { duplicates: 0, straddling: 0, contradictory: 0 };
  /** Labeled images that are not placed yet. */
  const sizes: Counts = new Map(classes.map((_, label) => [label, 0]));
  const left = (): number => totalOf(sizes);
  const rest = newSort();
  const putRest = async (image: Image): Promise<void> => (unlabeled === undefined ? put('unlabeled', image) : rest.add(rankOf(seed, 'unlabeled', image.digest), image));
  const draws = [...(test > 0 ? ['test' as const] : []), ...(validation > 0 ? ['validation' as const] : []), 'labeled' as const];
  let pool = newSort();
  const putPool = async (image: Image, label: number, purpose: PartName | undefined): Promise<void> => (purpose === undefined ? putRest(image) : pool.add(drawOrder(label, rankOf(seed, purpose, image.digest)), image));

  /** Of each class the lowest ranks; what is left is ranked for the draw after this one. */
  const take = async (part: PartName, wanted: Counts, next: PartName | undefined): Promise<void> => {
    const taken = pool;
    pool = newSort();
    try {
      const counts: Counts = new Map();
      for await (const image of taken) {
        const label = image.class ?? 0;
        const count = counts.get(label) ?? 0;
        counts.set(label, count + 1);
        if (count < (wanted.get(label) ?? 0)) await put(part, image);
        else await putPool(image, label, next);
      }
      for (const [label, size] of sizes) sizes.set(label, size - Math.min(size, wanted.get(label) ?? 0));
    } finally {
      await taken.close();
    }
  };

  try {
    for await (const image of distinct(candidates, tally)) {
      if (image.pool === 'test') await put('test', image);
      else if (image.pool === 'unlabeled' || image.class === undefined) await putRest(image);
      else {
        sizes.set(image.class, (sizes.get(image.class) ?? 0) + 1);
        await putPool(image, image.class, draws[0]);
      }
    }
    const anyLabeled = left() > 0;
    const empty = classes.filter((_, label) => sizes.get(label) === 0);
    if (anyLabeled && empty.length > 0) throw new AlumnusError('DATASET_CLASS_EMPTY', `no labeled image of class ${empty.map((name) => JSON.stringify(name)).join(', ')} was found`, { where: 'split' });

    for (const [at, part] of draws.entries()) {
      if (part === 'labeled') continue;
      const asked = part === 'test' ? test : validation;
      const count = shareOf(asked, left());
      if (count > left()) throw tooSmall(`${part} asks for ${count} labeled images where ${left()} are left`);
      await take(part, proportional(sizes, count, 0), draws[at + 1]);
    }

    let wanted: Counts = new Map(sizes);
    if (labeledPerClass !== undefined) {
      for (const [label, size] of sizes) {
        if (size < labeledPerClass) throw tooSmall(`class ${JSON.stringify(classes[label])} has ${size} labeled images left where ${labeledPerClass} a class are asked for`);
        wanted.set(label, labeledPerClass);
      }
    } else if (labeled !== undefined) {
      if (labeled > left()) throw tooSmall(`labeled asks for ${labeled} images where ${left()} are left`);
      if (labeled < classes.length) throw tooSmall(`labeled asks for ${labeled} images, fewer than the ${classes.length} classes`);
      wanted = proportional(sizes, labeled, 1);
    }
    await take('labeled', wanted, undefined);
    const without = classes.filter((_, label) => anyLabeled && (wanted.get(label) ?? 0) === 0);
    if (without.length > 0) throw new AlumnusError('DATASET_CLASS_EMPTY', `no labeled image of class ${without.map((name) => JSON.stringify(name)).join(', ')} is left after validation and test`, { where: 'split' });

    if (unlabeled !== undefined && unlabeled > rest.size) throw tooSmall(`unlabeled asks for ${unlabeled} images where ${rest.size} are left`);
    let kept = 0;
    for await (const image of rest) {
      if (kept === unlabeled) break;
      kept += 1;
      await put('unlabeled', image);
    }
    return { dropped: { duplicates: tally.duplicates, straddling: tally.straddling }, contradictory: tally.contradictory };
  } finally {
    await pool.close();
    await rest.close();
  }
}
