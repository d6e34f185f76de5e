/** What goes wrong when on real engines: drawn from a seed, before anything runs, so that a failure can be played again. */
import { lineFaults, type LineFault } from '../harness/proxy.ts';
import { randomFrom } from '../harness/random.ts';

const kills = ['kill leader', 'kill standby', 'kill worker', 'kill engine', 'kill nats server', 'kill all nats', 'kill minio'] as const;
const stops = ['stop leader', 'stop worker', 'stop nats server'] as const;
/** In both directions, or one alone: `out` loses what the first says, `in` what it is told. */
const directions = ['both', 'out', 'in'] as const;
const cuts = ['cut leader from nats', 'cut worker from coordinators', 'cut worker from minio', 'cut nats peers'] as const;
const unplugs = ['unplug leader', 'unplug worker', 'unplug nats server'] as const;
const fulls = ['fill minio', 'fill nats server'] as const;
const lines = ['line to minio', 'line to nats'] as const;

export type Kind = (typeof kills)[number] | (typeof stops)[number] | (typeof cuts)[number] | (typeof unplugs)[number] | (typeof fulls)[number] | (typeof lines)[number];
export type Direction = (typeof directions)[number];

interface Card {
  readonly kind: Kind;
  readonly direction?: Direction;
  readonly line?: LineFault;
}

export interface Fault extends Card {
  readonly number: number;
  /** 0 to 1 of the undisturbed run's length; the clock stands still while a fault lasts. */
  readonly moment: number;
  /** Which worker or server, where there are several. */
  readonly pick: number;
  readonly lastsMs: number;
  /** Whether the clock runs on meanwhile, so that the next fault may meet this one. */
  readonly overlaps: boolean;
}

export interface Plan {
  /** Whether this run's ways to the engines go through proxies; a packet to a proxy can't be lost between two hosts. */
  readonly relayed: boolean;
  readonly faults: readonly Fault[];
}

const direct: readonly Card[] = [
  ...[...kills, ...stops, ...unplugs, ...fulls].map((kind): Card => ({ kind })),
  ...cuts.flatMap((kind) => directions.map((direction): Card => ({ kind, direction }))),
];
const relayed: readonly Card[] = [
  ...(['kill leader', 'kill worker', 'kill nats server', 'kill minio'] as const).map((kind): Card => ({ kind })),
  ...lines.flatMap((kind) => lineFaults.map((line): Card => ({ kind, line }))),
];
/** So many faults strike each kind once, in every direction. */
export const EVERY_FAULT = direct.length + relayed.length;

/** Longer than a lease and the leader's entry live, where time is what the fault is about. */
const lastsMs: Record<'kill' | 'stop' | 'cut' | 'unplug' | 'fill' | 'line', readonly [number, number]> = {
  kill: [0, 2_500], stop: [2_000, 6_000], cut: [2_000, 7_000], unplug: [2_000, 7_000], fill: [2_000, 6_000], line: [1_000, 6_000],
};
const OVERLAP_SHARE = 0.2;
/** A fault that comes later meets a run that is about to end, and often none. */
const MOMENT_MAX = 0.8;

export const nameOf = ({ kind, direction, line }: Card): string => [kind, direction, line].filter((part) => part !== undefined).join(', ');

/** Of each deck every card comes once before any comes twice. */
function* dealt(deck: readonly Card[], random: () => number): Generator<Card, never> {
  for (;;) {
    const left = [...deck];
    while (left.length > 0) yield* left.splice(Math.floor(random() * left.length), 1);
  }
}

/** Runs by turns direct and relayed, as many of each as their decks have cards; each run's faults by moment. */
export function planFaults(seed: number, many: number, perRun: number): Plan[] {
  const random = randomFrom(seed);
  const decks = { direct: dealt(direct, random), relayed: dealt(relayed, random) };
  const plans: Plan[] = [];
  for (let number = 0, relays = 0; number < many;) {
    const viaRelays = plans.length > 0 && relays / plans.length < relayed.length / EVERY_FAULT;
    if (viaRelays) relays += 1;
    const faults: Fault[] = [];
    const size = Math.min(perRun, many - number);
    for (let at = 0; at < size; at += 1) {
      const card = decks[viaRelays ? 'relayed' : 'direct'].next().value;
      const [least, most] = lastsMs[card.kind.split(' ')[0] as keyof typeof lastsMs];
      faults.push({
        ...card, number: number + 1, moment: ((at + random()) / size) * MOMENT_MAX, pick: Math.floor(random() * 6),
        lastsMs: Math.round(least + random() * (most - least)), overlaps: random() < OVERLAP_SHARE,
      });
      number += 1;
    }
    plans.push({ relayed: viaRelays, faults });
  }
  return plans;
}
