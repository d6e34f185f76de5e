/** Coordinators by script for the lease loop's tests: real gRPC servers that lead, stand by, die or stand still. */
import { Server, ServerCredentials, type handleUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { AlumnusError, type ErrorCode } from '../../../proto/errors.ts';
import { statusOf } from '../../../proto/status.ts';
import { Task } from '../../../proto/gen/alumnus/v1/task.ts';
import { WorkerServiceService, type AcquireRequest, type CompleteRequest, type FailRequest, type HeldLease, type Lease, type LeaseId, type RegisterRequest, type RenewRequest } from '../../../proto/gen/alumnus/v1/worker.ts';

export const refuse = (code: ErrorCode, message: string, where = ''): ServiceError => Object.assign(new Error(message), statusOf(new AlumnusError(code, message, { where })));

export class FakeCoordinator {
  /** 0: stands by. */
  term: number;
  /** What a standby names as the leader. */
  leaderAddress = '';
  renewEveryMs = 100;
  /** Which leases of other terms this one adopts; the others are lost. */
  adopts: (held: HeldLease) => boolean = () => true;
  /** Said instead of an answer to a completion. */
  completionFails: (() => ServiceError | undefined) | undefined;
  /** Where true, completions get no answer at all. */
  completionHangs = false;
  readonly granting: Task[] = [];
  readonly registered: RegisterRequest[] = [];
  readonly completed: CompleteRequest[] = [];
  readonly failed: FailRequest[] = [];
  readonly lost: LeaseId[] = [];
  renewals = 0;
  readonly renewed: HeldLease[][] = [];
  acquires = 0;
  #counter = 0;
  #server = new Server();
  #port = 0;
  readonly #waiting = new Set<() => void>();

  constructor(term: number) {
    this.term = term;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async start(): Promise<this> {
    const led = <Request, Response>(answer: (request: Request, call: { readonly cancelled: boolean }) => Response | Promise<Response>): handleUnaryCall<Request, Response> => (call, callback) => {
      if (this.term === 0) return callback(refuse('NOT_LEADER', 'this coordinator stands by', this.leaderAddress));
      Promise.resolve().then(() => answer(call.request, call)).then((response) => callback(null, response), (thrown: ServiceError) => callback(thrown));
    };
    this.#server = new Server();
    this.#server.addService(WorkerServiceService, {
      register: led((request: RegisterRequest) => {
        this.registered.push(request);
        return { term: this.term, leaseMs: 4 * this.renewEveryMs, renewEveryMs: this.renewEveryMs, lost: this.#refused(request.held), storeUrl: 'file:///store' };
      }),
      acquire: led(async ({ workerId, max }: AcquireRequest, call) => {
        this.acquires += 1;
        if (!this.registered.some((each) => each.workerId === workerId)) throw refuse('NOT_LEADER', 'the worker has not registered with this leader');
        while (this.granting.length === 0) await new Promise<void>((resolve) => this.#waiting.add(resolve));
        if (call.cancelled) return { term: this.term, leases: [] };
        if (this.term === 0) throw refuse('NOT_LEADER', 'this coordinator stands by', this.leaderAddress);
        const leases: Lease[] = this.granting.splice(0, max).map((task) => ({ leaseId: { term: this.term, counter: this.#counter += 1 }, task, attempt: 0 }));
        return { term: this.term, leases };
      }),
      renew: led(({ held }: RenewRequest) => {
        this.renewals += 1;
        this.renewed.push(held);
        return { term: this.term, lost: this.#refused(held), handBack: [] };
      }),
      complete: led((request: CompleteRequest) => {
        this.completed.push(request);
        if (this.completionHangs) return new Promise<never>(() => undefined);
        const failure = this.completionFails?.();
        if (failure !== undefined) throw failure;
        return { accepted: true, reason: '' };
      }),
      fail: led((request: FailRequest) => {
        this.failed.push(request);
        return {};
      }),
    });
    this.#port = await new Promise((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${this.#port}`, ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error)));
    });
    return this;
  }

  grant(...taskIds: string[]): void {
    this.granting.push(...taskIds.map((taskId) => Task.fromPartial({ taskId })));
    this.#wake();
  }

  /** Leads no more: what waits is told so. */
  standBy(leaderAddress: string): void {
    this.term = 0;
    this.leaderAddress = leaderAddress;
    this.granting.push(Task.fromPartial({ taskId: 'never granted' }));
    this.#wake();
    this.granting.length = 0;
  }

  /** As a killed process: connections are cut, the port is closed. */
  die(): void {
    this.#server.forceShutdown();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #refused(held: readonly HeldLease[]): LeaseId[] {
    const refused = held.filter((each) => each.leaseId?.term !== this.term && !this.adopts(each)).flatMap(({ leaseId }) => leaseId ?? []);
    return [...refused, ...this.lost.filter((leaseId) => held.some((each) => each.leaseId?.term === leaseId.term && each.leaseId.counter === leaseId.counter))];
  }
}
