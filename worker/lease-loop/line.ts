/**
 * Line: the one connection of a worker, to whoever leads as far as it knows. Makes calls, notices that the other end is
 * gone or hangs, and moves to another address when it is told to. Not for: deciding which calls are made again, or when.
 *
 * Invariants:
 *  1. There is one connection at a time. A move ends the old one and every call on it.
 *  2. Each call settles: by its answer, its deadline, the connection's end or a move.
 *  3. A lost connection is told once, also where no call was open.
 */
import { connectivityState, Metadata, type CallOptions, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { fromStatus, type Addresses } from '../../proto/call.ts';
import { accessTo, type ClientAccess } from '../../proto/credentials.ts';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import { carriedBy } from '../../proto/status.ts';
import { WorkerServiceClient } from '../../proto/gen/alumnus/v1/worker.ts';

/** Longer than a connection takes to be made around the world; a host that is off, or a process that is stopped, costs a worker no more. */
const CONNECT_MS_MAX = 500;
/**
 * A coordinator that stands still is noticed after both together: by then another has taken the leader's entry (1.5 s), and
 * there is still time to tell it what is held, before it grants. Only a coordinator that blocks for the second is left wrongly, at the cost of a call.
 */
const PING_EVERY_MS = 1_000;
const PING_MS_MAX = 1_000;
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

export type Method<Request, Response> = (request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Response) => void) => ClientUnaryCall;

export class Line {
  readonly #addresses: Addresses;
  readonly #onLost: (error: AlumnusError) => void;
  readonly #access: ClientAccess;
  readonly #calls = new Set<ClientUnaryCall>();
  #client: WorkerServiceClient | undefined;
  #moves = 0;

  /** @param onLost told that the connection that calls went over is gone @param access default: no TLS, no token */
  constructor(addresses: Addresses, onLost: (error: AlumnusError) => void, access: ClientAccess = {}) {
    this.#access = access;
    this.#addresses = addresses;
    this.#onLost = onLost;
  }

  get address(): string {
    return this.#addresses.current;
  }

  /** Raised by each move: says whether what failed is still what is asked now. */
  get moves(): number {
    return this.#moves;
  }

  /** @throws AlumnusError what the coordinator said; UNREACHABLE, TIMED_OUT where it said nothing. */
  call<Request, Response>(method: (client: WorkerServiceClient) => Method<Request, Response>, request: Request, withinMs: number, signal?: AbortSignal): Promise<Response> {
    const client = this.#open();
    const [address, moves] = [this.address, this.#moves];
    return new Promise((resolve, reject) => {
      const call = method(client).call(client, request, new Metadata(), { deadline: Date.now() + withinMs }, (error, response) => {
        clearTimeout(connecting);
        signal?.removeEventListener('abort', cancel);
        this.#calls.delete(call);
        if (error !== null) return reject(errorOf(error, address, this.#access.tls !== undefined));
        if (moves === this.#moves) this.#addresses.answered();
        resolve(response);
      });
      const cancel = (): void => call.cancel();
      this.#calls.add(call);
      signal?.addEventListener('abort', cancel, { once: true });
      const connecting = setTimeout(() => {
        if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) call.cancel();
      }, CONNECT_MS_MAX);
    });
  }

  /**
   * Leaves the coordinator that a call made at `moves` failed at, unless it was left already. True where every address was
   * asked in vain: wait a little before the next call.
   */
  leave(error: AlumnusError, moves: number): boolean {
    if (moves !== this.#moves) return false;
    this.close();
    return this.#addresses.failed(error);
  }

  close(): void {
    this.#moves += 1;
    const client = this.#client;
    this.#client = undefined;
    for (const call of this.#calls) call.cancel();
    client?.close();
  }

  #open(): WorkerServiceClient {
    if (this.#client !== undefined) return this.#client;
    const { credentials, options } = accessTo(this.address, this.#access);
    const client = new WorkerServiceClient(this.address, credentials, {
      ...options,
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX, 'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      // A worker whose slots are full has no call open for seconds, and wants to know all the same.
      'grpc.keepalive_time_ms': PING_EVERY_MS, 'grpc.keepalive_timeout_ms': PING_MS_MAX, 'grpc.keepalive_permit_without_calls': 1,
      // The next try at an address is a try, and not the rest of an earlier client's wait.
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#client = client;
    this.#watch(client, this.#moves);
    return client;
  }

  #watch(client: WorkerServiceClient, moves: number): void {
    const channel = client.getChannel();
    const [address, from] = [this.address, channel.getConnectivityState(false)];
    if (from === connectivityState.SHUTDOWN) return;
    channel.watchConnectivityState(from, Infinity, () => {
      if (moves !== this.#moves) return;
      if (from === connectivityState.READY) this.#onLost(new AlumnusError('UNREACHABLE', 'the connection is lost', { where: address }));
      else this.#watch(client, moves);
    });
  }
}

/** What no coordinator said is the network's, whatever the library calls it; a service that isn't ours stays a wrong address. */
function errorOf(error: ServiceError, address: string, secured: boolean): AlumnusError {
  const told = toAlumnusError(fromStatus(error, address, secured), address);
  const said = carriedBy(error.metadata) !== undefined;
  return said || told.code.startsWith('ACCESS_') || told.code === 'USAGE' || told.code === 'TIMED_OUT' ? told : new AlumnusError('UNREACHABLE', told.code === 'UNREACHABLE' || told.code === 'CANCELLED' ? 'no coordinator answers there' : told.message, { where: address, cause: error });
}
