/** Between workers and whoever leads: calls that may be lost, doubled, late or answered to nobody. */
import type { Metadata } from '@grpc/grpc-js';
import type { WorkerServiceServer } from '../../proto/gen/alumnus/v1/worker.ts';
import type { Plan } from './plan.ts';
import type { World } from './world.ts';

/** As long as workers wait for an answer. */
const CALL_MS_MAX = 10_000;

export type Method = 'register' | 'acquire' | 'renew' | 'complete' | 'fail';
/** An error's code of our table; UNREACHABLE where nobody answered. */
export type Answer<Response> = { readonly response: Response } | { readonly error: string };

/** One coordinator's process, as the network sees it. */
export interface Server {
  readonly service: WorkerServiceServer;
  readonly isAlive: () => boolean;
}

type Handler = (call: { request: unknown; cancelled: boolean }, callback: (error: { metadata?: Metadata } | null, response?: unknown) => void) => void;

export class Network {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #faulty: () => boolean;
  readonly #route: () => Server | undefined;

  readonly #broke: (thrown: unknown) => void;

  /** @param broke told what a check threw, which must not vanish in the code under test. */
  constructor(world: World, plan: Plan, faulty: () => boolean, route: () => Server | undefined, broke: (thrown: unknown) => void) {
    this.#broke = broke;
    this.#world = world;
    this.#plan = plan;
    this.#faulty = faulty;
    this.#route = route;
  }

  #occurs(fault: 'requestLost' | 'responseLost' | 'duplicated'): boolean {
    if (!this.#faulty() || !this.#world.random.chance(this.#plan.chance[fault])) return false;
    this.#world.count(`fault: ${{ requestLost: 'request lost', responseLost: 'response lost', duplicated: 'request doubled' }[fault]}`);
    return true;
  }

  #delay(): number {
    const { random } = this.#world;
    if (this.#faulty() && random.chance(this.#plan.chance.delayed)) {
      this.#world.count('fault: message late');
      return random.magnitude(100, 2 * CALL_MS_MAX);
    }
    return random.next() * this.#plan.delayMs;
  }

  call<Response>(method: Method, request: unknown, onAnswer: (answer: Answer<Response>) => void, onResponse: (response: Response) => void = () => undefined): void {
    let answered = false;
    const answer = (given: Answer<Response>): void => {
      if (answered) return;
      answered = true;
      onAnswer(given);
    };
    this.#world.after(CALL_MS_MAX, () => answer({ error: 'UNREACHABLE' }));
    const deliver = (): void => {
      const server = this.#route();
      if (server === undefined) {
        this.#world.after(this.#delay(), () => answer({ error: 'UNREACHABLE' }));
        return;
      }
      const handler = server.service[method] as unknown as Handler;
      handler({ request, cancelled: false }, (error, response) => {
        if (!server.isAlive()) return;
        // Said is said, whether or not it arrives.
        try {
          if (error === null) onResponse(response as Response);
        } catch (thrown) {
          this.#broke(thrown);
        }
        if (this.#occurs('responseLost')) return;
        const given: Answer<Response> = error === null ? { response: response as Response } : { error: String(error.metadata?.get('alumnus-code')[0] ?? 'UNREACHABLE') };
        this.#world.after(this.#delay(), () => answer(given));
      });
    };
    if (!this.#occurs('requestLost')) this.#world.after(this.#delay(), deliver);
    if (this.#occurs('duplicated')) this.#world.after(this.#delay(), deliver);
  }
}
