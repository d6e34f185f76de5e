/**
 * The split: which images are labeled, unlabeled, validation and test. Pure: a function of the seed and of each image's
 * content, so neither the order of a source nor the names of its files matter.
 * Invariants:
 *  1. No image content is in two parts, nor twice in one.
 *  2. Of copies, the one held out stays: test before validation, validation before what trains.
 *  3. Draws are by rank of SHA-256(seed, purpose, content), so asking for more of a part keeps what it had where nothing
 *     else was asked for before it.
 */
import { AlumnusError } from '../proto/errors.ts';
import { sha256, type PartName } from '../store/index.ts';

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
  /** A count, or below 1 a share, where the source has no test split of its own. Default 0. */
  readonly test?: number;
}

export interface Candidate {
  /** SHA-256 of the image's shape and pixels. */
  readonly digest: string;
  readonly pool: 'train' | 'test' | 'unlabeled';
  readonly class: number | undefined;
}

export interface Split {
  /** Indices of candidates. */
  readonly parts: Record<PartName, number[]>;
  readonly dropped: { readonly duplicates: number; readonly straddling: number };
  /** Contents that came under more than one class; each was kept once, under the class with the lowest index. */
  readonly contradictory: number;
}

/** Named in the manifest; a change of the rule is another name. */
export const SPLIT_METHOD = 'sha256(seed, purpose, pixels); validation and test stratified by class';

const poolRank = { test: 0, train: 1, unlabeled: 2 } as const;

interface Distinct {
  readonly at: number;
  readonly digest: string;
  readonly pool: Candidate['pool'];
  readonly class: number | undefined;
}

/** Each content once: from the pool that is held out first, then under the lowest class. */
function distinct(candidates: readonly Candidate[]): { kept: Distinct[]; duplicates: number; straddling: number; contradictory: number } {
  const best = new Map<string, Distinct>();
  const contradictory = new Set<string>();
  candidates.forEach((candidate, at) => {
    const known = best.get(candidate.digest);
    if (known !== undefined && known.class !== undefined && candidate.class !== undefined && known.class !== candidate.class) contradictory.add(candidate.digest);
    const order = known === undefined ? -1 : poolRank[candidate.pool] - poolRank[known.pool] || (candidate.class ?? Infinity) - (known.class ?? Infinity);
    if (order < 0) best.set(candidate.digest, { at, ...candidate });
  });
  let duplicates = 0;
  let straddling = 0;
  candidates.forEach((candidate, at) => {
    const known = best.get(candidate.digest);
    if (known === undefined || known.at === at) return;
    if (known.pool === candidate.pool) duplicates += 1;
    else straddling += 1;
  });
  return { kept: [...best.values()], duplicates, straddling, contradictory: contradictory.size };
}

const shareOf = (asked: number, available: number): number => (asked < 1 ? Math.floor(asked * available) : asked);

/** @param wanted by class. Takes the lowest ranks of each class out of `pool`. */
function take(pool: Map<number, Distinct[]>, wanted: ReadonlyMap<number, number>, seed: number, purpose: string): number[] {
  const taken: number[] = [];
  for (const [label, samples] of pool) {
    const ranked = ranks(samples, seed, purpose);
    const count = wanted.get(label) ?? 0;
    taken.push(...ranked.slice(0, count).map((sample) => sample.at));
    pool.set(label, ranked.slice(count));
  }
  return taken;
}

function ranks(samples: readonly Distinct[], seed: number, purpose: string): Distinct[] {
  return samples
    .map((sample) => ({ sample, rank: sha256(`${seed}\n${purpose}\n${sample.digest}`) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ sample }) => sample);
}

/** `count` over classes in proportion to their sizes, by largest remainder, ties to the lower class; at least `least` of each. */
function proportional(pool: ReadonlyMap<number, readonly Distinct[]>, count: number, least: number): Map<number, number> {
  const total = [...pool.values()].reduce((sum, samples) => sum + samples.length, 0);
  const exact = [...pool].map(([label, samples]) => ({ label, size: samples.length, exact: total === 0 ? 0 : (count * samples.length) / total }));
  const wanted = new Map(exact.map((each) => [each.label, Math.min(each.size, Math.max(least, Math.floor(each.exact)))]));
  const given = (): number => [...wanted.values()].reduce((sum, value) => sum + value, 0);
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

/**
 * @param classes names; every one of them must have labeled images.
 * @throws AlumnusError DATASET_TOO_SMALL, DATASET_CLASS_EMPTY
 */
export function split(candidates: readonly Candidate[], classes: readonly string[], request: SplitRequest): Split {
  const { seed } = request;
  const { kept, duplicates, straddling, contradictory } = distinct(candidates);
  const tooSmall = (what: string): AlumnusError => new AlumnusError('DATASET_TOO_SMALL', what, { where: 'split' });
  const pool = new Map<number, Distinct[]>(classes.map((_, label) => [label, []]));
  const parts: Record<PartName, number[]> = { labeled: [], unlabeled: [], validation: [], test: [] };
  const unlabeledOnly: Distinct[] = [];
  for (const sample of kept) {
    if (sample.pool === 'test') parts.test.push(sample.at);
    else if (sample.pool === 'unlabeled' || sample.class === undefined) unlabeledOnly.push(sample);
    else pool.get(sample.class)?.push(sample);
  }
  const left = (): number => [...pool.values()].reduce((sum, samples) => sum + samples.length, 0);
  const anyLabeled = left() > 0;
  const empty = classes.filter((_, label) => pool.get(label)?.length === 0);
  if (anyLabeled && empty.length > 0) throw new AlumnusError('DATASET_CLASS_EMPTY', `no labeled image of class ${empty.map((name) => JSON.stringify(name)).join(', ')} was found`, { where: 'split' });

  const hold = (part: 'test' | 'validation', asked: number): void => {
    const count = shareOf(asked, left());
    if (count > left()) throw tooSmall(`${part} asks for ${count} labeled images where ${left()} are left`);
    parts[part].push(...take(pool, proportional(pool, count, 0), seed, part));
  };
  if (parts.test.length === 0 && (request.test ?? 0) > 0) hold('test', request.test ?? 0);
  if ((request.validation ?? 0) > 0 && (anyLabeled || (request.validation ?? 0) >= 1)) hold('validation', request.validation ?? 0);

  if (request.labeledPerClass !== undefined) {
    for (const [label, samples] of pool) {
      if (samples.length < request.labeledPerClass) throw tooSmall(`class ${JSON.stringify(classes[label])} has ${samples.length} labeled images left where ${request.labeledPerClass} a class are asked for`);
    }
    parts.labeled = take(pool, new Map([...pool.keys()].map((label) => [label, request.labeledPerClass ?? 0])), seed, 'labeled');
  } else if (request.labeled !== undefined) {
    if (request.labeled > left()) throw tooSmall(`labeled asks for ${request.labeled} images where ${left()} are left`);
    if (request.labeled < classes.length) throw tooSmall(`labeled asks for ${request.labeled} images, fewer than the ${classes.length} classes`);
    parts.labeled = take(pool, proportional(pool, request.labeled, 1), seed, 'labeled');
  } else {
    parts.labeled = take(pool, new Map([...pool].map(([label, samples]) => [label, samples.length])), seed, 'labeled');
  }
  const drawn = new Set(parts.labeled);
  const without = classes.filter((_, label) => anyLabeled && !kept.some((sample) => sample.class === label && drawn.has(sample.at)));
  if (without.length > 0) throw new AlumnusError('DATASET_CLASS_EMPTY', `no labeled image of class ${without.map((name) => JSON.stringify(name)).join(', ')} is left after validation and test`, { where: 'split' });

  const rest = [...[...pool.values()].flat(), ...unlabeledOnly];
  if (request.unlabeled !== undefined && request.unlabeled > rest.length) throw tooSmall(`unlabeled asks for ${request.unlabeled} images where ${rest.length} are left`);
  parts.unlabeled = ranks(rest, seed, 'unlabeled').slice(0, request.unlabeled ?? rest.length).map((sample) => sample.at);
  return { parts, dropped: { duplicates, straddling }, contradictory };
}
