/** Between workers and coordinators: calls that may be lost, doubled, late, answered to nobody, or cut off in one direction. */
import { carriedBy } from '../../proto/status.ts';
import type { Metadata } from '@grpc/grpc-js';
import type { WorkerServiceServer } from '../../proto/gen/alumnus/v1/worker.ts';
import type { Links, Party } from './party.ts';
import type { Plan } from './plan.ts';
import type { World } from './world.ts';

/** As long as workers wait for an answer. */
const CALL_MS_MAX = 10_000;

export type Method = 'register' | 'acquire' | 'renew' | 'complete' | 'fail';
/** An error's code of our table, and the place it names; UNREACHABLE where nobody answered. */
export type Answer<Response> = { readonly response: Response } | { readonly error: string; readonly where: string };

/** One coordinator's process, as the network sees it. */
export interface Server {
  readonly service: WorkerServiceServer;
  readonly party: Party;
}

type Handler = (call: { request: unknown; cancelled: boolean }, callback: (error: { metadata?: Metadata } | null, response?: unknown) => void) => void;

export interface NetworkOptions {
  readonly world: World;
  readonly plan: Plan;
  readonly links: Links;
  readonly faulty: () => boolean;
  /** The process at an address; undefined where none lives. */
  readonly route: (address: string) => Server | undefined;
  /** Told what a check threw, which must not vanish in the code under test. */
  readonly broke: (thrown: unknown) => void;
}

export class Network {
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  #occurs(fault: 'requestLost' | 'responseLost' | 'duplicated'): boolean {
    const { faulty, world, plan } = this.#options;
    if (!faulty() || !world.random.chance(plan.chance[fault])) return false;
    world.count(`fault: ${{ requestLost: 'request lost', responseLost: 'response lost', duplicated: 'request doubled' }[fault]}`);
    return true;
  }

  #delay(): number {
    const { faulty, world: { random }, world, plan } = this.#options;
    if (faulty() && random.chance(plan.chance.delayed)) {
      world.count('fault: message late');
      return random.magnitude(100, 2 * CALL_MS_MAX);
    }
    return random.next() * plan.delayMs;
  }

  call<Response>(from: string, address: string, method: Method, request: unknown, onAnswer: (answer: Answer<Response>) => void, onResponse: (response: Response) => void = () => undefined): void {
    const { world, links, route, broke } = this.#options;
    let answered = false;
    const answer = (given: Answer<Response>): void => {
      if (answered) return;
      answered = true;
      giveUp();
      onAnswer(given);
    };
    const giveUp = world.after(CALL_MS_MAX, () => answer({ error: 'UNREACHABLE', where: '' }));
    const deliver = (): void => {
      if (!links.passes(from, address)) {
        world.count('fault: a call meets a cut link');
        return;
      }
      const server = route(address);
      if (server === undefined) {
        world.after(this.#delay(), () => answer({ error: 'UNREACHABLE', where: '' }));
        return;
      }
      // A process that stands still takes the call when it goes on.
      server.party.later(0, () => {
        const handler = server.service[method] as unknown as Handler;
        handler({ request, cancelled: false }, (error, response) => {
          if (!server.party.alive) return;
          // Said is said, whether or not it arrives.
          try {
            if (error === null) onResponse(response as Response);
          } catch (thrown) {
            broke(thrown);
          }
          if (this.#occurs('responseLost') || !links.passes(address, from)) return;
          const carried = carriedBy(error?.metadata ?? undefined);
          const given: Answer<Response> = error === null ? { response: response as Response } : { error: carried?.code ?? 'UNREACHABLE', where: carried?.where ?? '' };
          world.after(this.#delay(), () => answer(given));
        });
      });
    };
    if (!this.#occurs('requestLost')) world.after(this.#delay(), deliver);
    if (this.#occurs('duplicated')) world.after(this.#delay(), deliver);
  }
}
