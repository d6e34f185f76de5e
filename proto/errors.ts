/**
 * The one table of errors. Every failure that a person or a program can meet has a row here: a stable code, whether
 * trying again can help, the gRPC status it travels as, the exit code of the CLI, and what to do next.
 * Not for: bugs. A broken invariant is thrown as a plain `Error` by `invariant` and ends the process that broke it.
 */

/** gRPC status numbers, as in google.rpc.Code. Only those we use. */
export const grpcStatus = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** Exit codes of the CLI; documented in docs/cli.md. */
export const exitCode = {
  ok: 0,
  runFailed: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unreachable: 5,
  refused: 6,
  badData: 7,
  environment: 8,
  timedOut: 124,
  interrupted: 130,
} as const;

interface ErrorRow {
  /** `terminal`: the same call will fail again. `retryable`: another attempt may succeed. */
  readonly kind: 'terminal' | 'retryable';
  readonly grpc: number;
  readonly exit: number;
  /** One sentence that tells a person what to do next. */
  readonly remedy: string;
}

const row = (kind: ErrorRow['kind'], grpc: keyof typeof grpcStatus, exit: keyof typeof exitCode, remedy: string): ErrorRow => ({
  kind, grpc: grpcStatus[grpc], exit: exitCode[exit], remedy,
});

export const errorTable = {
  // What a user wrote
  USAGE: row('terminal', 'invalidArgument', 'usage', 'See the command\'s --help for an example.'),
  RECIPE_INVALID: row('terminal', 'invalidArgument', 'usage', 'Correct the named fields and run `alumnus recipe validate` again.'),
  RECIPE_LADDER_SHRINKS: row('terminal', 'invalidArgument', 'usage', 'Order models.ladder so that no student is smaller than the model before it, or distill them (training.distill), which smaller ones may be.'),
  // Data
  DATASET_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'List what is there with `alumnus dataset list`, or import it first.'),
  DATASET_EXISTS: row('terminal', 'alreadyExists', 'conflict', 'Datasets are immutable: choose another name.'),
  DATASET_TOO_SMALL: row('terminal', 'failedPrecondition', 'badData', 'Ask for fewer samples, or import more.'),
  DATASET_TOO_LARGE: row('terminal', 'resourceExhausted', 'badData', 'Cut it into smaller pieces as the message says, and run the command again.'),
  DATASET_CLASS_EMPTY: row('terminal', 'failedPrecondition', 'badData', 'Add labeled images of that class, or take the class out of the class list.'),
  DATASET_SOURCE_UNREADABLE: row('terminal', 'invalidArgument', 'badData', 'Check the path and its layout against `alumnus dataset import --help`.'),
  SOURCE_UNAVAILABLE: row('retryable', 'unavailable', 'environment', 'Check the network and npm\'s registry setting, or import from files that you have: `alumnus dataset import --help`.'),
  LABEL_OUT_OF_RANGE: row('terminal', 'invalidArgument', 'badData', 'Correct the label, or list the class it names.'),
  SHARD_CORRUPT: row('terminal', 'dataLoss', 'badData', 'Find all damaged shards with `alumnus dataset verify`, then import the set again under a new name.'),
  IMAGE_CORRUPT: row('terminal', 'dataLoss', 'badData', 'Replace or remove the image, then import the set again under a new name.'),
  DIGEST_MISMATCH: row('terminal', 'dataLoss', 'badData', 'The stored bytes changed: restore the object from a copy, or produce it again.'),
  OBJECT_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'Check that the coordinator and the workers use the same object store.'),
  STORE_FULL: row('retryable', 'resourceExhausted', 'environment', 'Free space on the device that holds the store; what is already stored is intact.'),
  STORE_UNWRITABLE: row('terminal', 'permissionDenied', 'environment', 'Make the folder writable, or name another with --home.'),
  STORE_NOT_FOUND: row('terminal', 'notFound', 'environment', 'Correct --store or --home; where there is no store yet, `alumnus dataset import` and `alumnus coordinator` make one.'),
  BUCKET_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'Create the bucket, or correct its name in the store\'s URL.'),
  STORE_UNREACHABLE: row('retryable', 'unavailable', 'unreachable', 'Check that the object store runs at the endpoint in its URL and can be reached from this machine.'),
  STORE_DENIED: row('terminal', 'permissionDenied', 'environment', 'Set ALUMNUS_S3_ACCESS_KEY and ALUMNUS_S3_SECRET_KEY (of temporary keys the token, too) to keys that docs/storage.md\'s policy allows in.'),
  STORE_CLOCK_SKEWED: row('terminal', 'failedPrecondition', 'environment', 'Set this machine\'s clock (NTP does), and the store\'s.'),
  STORE_UNTRUSTED: row('terminal', 'failedPrecondition', 'environment', 'Name the file with the store\'s CA in NODE_EXTRA_CA_CERTS, and use the host name that its certificate has.'),
  MANIFEST_REFUSED: row('retryable', 'unavailable', 'environment', 'Mend the coordinator\'s own access to the store; workers keep what is finished, and report it again.'),
  REVIEW_INVALID: row('terminal', 'invalidArgument', 'badData', 'Correct the lines that are named and import the file again; nothing of it was taken.'),
  // Runs
  RUN_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'List the runs with `alumnus run list`.'),
  RUN_CONFLICT: row('terminal', 'failedPrecondition', 'conflict', 'See the run\'s state with `alumnus run describe`.'),
  FACT_TOO_LARGE: row('terminal', 'resourceExhausted', 'badData', 'Import the set in fewer, larger shards; with NATS, raising max_payload of its servers helps, too.'),
  TASK_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'List what a run has under way with `alumnus task list RUN`.'),
  WORKER_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'List the workers with `alumnus worker list`.'),
  BUDGET_SPENT: row('terminal', 'failedPrecondition', 'conflict', 'A run that was paused for its budget goes on by itself when that is raised.'),
  SAMPLE_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'A key is an image\'s name in its shard, without its ending; docs/lineage.md says where to look it up.'),
  MODEL_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'Name a model by the sha256 of its document, as `alumnus run describe RUN -o json` tells it, or by RUN or RUN/ITERATION.'),
  // Teachers from elsewhere
  TEACHER_NOT_FOUND: row('terminal', 'notFound', 'notFound', 'Correct models.teacher.url: every worker must be able to read what lies there.'),
  TEACHER_UNREACHABLE: row('retryable', 'unavailable', 'unreachable', 'Check that every worker can reach what models.teacher.url names, and that it answers.'),
  TEACHER_UNREADABLE: row('terminal', 'invalidArgument', 'badData', 'Check models.teacher.format, or export the model again: docs/models.md, "A teacher from elsewhere", says what is read.'),
  TEACHER_UNSUITABLE: row('terminal', 'failedPrecondition', 'badData', 'Correct input and output of models.teacher, or take a model that fits the data, then submit again.'),
  ONNX_UNAVAILABLE: row('terminal', 'failedPrecondition', 'environment', 'Run `npm install --no-save --ignore-scripts onnxruntime-node@1.30.0` where the workers run, and start them again.'),
  EXPORT_IMPOSSIBLE: row('terminal', 'failedPrecondition', 'conflict', 'Take another --format or --weights: docs/export.md says what each holds.'),
  // Leases
  LEASE_LOST: row('terminal', 'failedPrecondition', 'conflict', 'Drop the work: the task is closed or was cancelled; no result is lost.'),
  NOT_LEADER: row('retryable', 'unavailable', 'unreachable', 'Try again in a moment; with the addresses of all coordinators, as `--address a:7700,b:7700`, the one that leads is found.'),
  LEASE_EXPIRED: row('retryable', 'deadlineExceeded', 'runFailed', 'The task is granted again; look at the worker\'s log if its leases keep expiring.'),
  WORKER_RESTARTED: row('retryable', 'aborted', 'runFailed', 'The task is granted again; look at the worker\'s log if it keeps restarting.'),
  WORKER_STOPPED: row('retryable', 'aborted', 'runFailed', 'Nothing to do: the worker was asked to stop, and its task is granted again.'),
  // Work
  ENGINE_CRASHED: row('retryable', 'internal', 'runFailed', 'The attempt is taken again; if every worker crashes on it, look at the shard it names.'),
  ENGINE_SILENT: row('retryable', 'deadlineExceeded', 'runFailed', 'A new engine is started and the attempt is taken again; where single TensorFlow calls take so long, raise --engine-timeout of `alumnus worker`.'),
  ENGINE_STOPPED: row('retryable', 'aborted', 'runFailed', 'Nothing to do: the worker ended its engine for another task\'s sake, and this one is granted again.'),
  ENGINE_UNAVAILABLE: row('terminal', 'failedPrecondition', 'environment', 'Run `npm run setup` to install the native TensorFlow library.'),
  TRAINING_DIVERGED: row('terminal', 'aborted', 'runFailed', 'Lower training.optimizer.learning_rate, set training.clip_norm or weaken the noise, then submit again.'),
  LABELS_COLLAPSED: row('terminal', 'failedPrecondition', 'runFailed', 'The teacher names too few classes: give it more labels or steps, or raise training.steps of iteration 0.'),
  CANCELLED: row('terminal', 'cancelled', 'interrupted', 'Nothing to do: it was asked for.'),
  // Access
  ACCESS_UNAUTHENTICATED: row('terminal', 'unauthenticated', 'refused', 'Give a token that the coordinator knows: ALUMNUS_TOKEN, or `alumnus config set-context NAME --token-file FILE`.'),
  ACCESS_REFUSED: row('terminal', 'permissionDenied', 'refused', 'The token does not allow this: use one that does, or ask whoever runs the coordinator for it.'),
  ACCESS_INVALID: row('terminal', 'invalidArgument', 'usage', 'Correct the named fields of the access file; docs/access.md says what they are, and `alumnus access check FILE` tries it.'),
  QUOTA_SPENT: row('terminal', 'resourceExhausted', 'refused', 'Have the project\'s quota raised in the access file; what it had was spent by the results of its runs.'),
  ACCESS_UNTRUSTED: row('terminal', 'failedPrecondition', 'environment', 'Name the authority that signed its certificate (--tls-ca FILE), and the address, or --tls-server-name of the context, that the certificate is for.'),
  // Surroundings
  DISK_FAILED: row('terminal', 'internal', 'environment', 'Look into the system\'s log for what ails the device, and replace it or mount it again; what other devices hold is intact.'),
  FILES_EXHAUSTED: row('retryable', 'resourceExhausted', 'environment', 'Raise the limit of open files (`ulimit -n`) and start the process again.'),
  CODE_OUTDATED: row('retryable', 'failedPrecondition', 'environment', 'A process keeps the code that it was started with: restart the one that is older, on the same code as the others.'),
  PORT_IN_USE: row('terminal', 'failedPrecondition', 'environment', 'Choose another (--listen, --metrics, --page), or stop what holds it.'),
  PAGE_BUSY: row('retryable', 'resourceExhausted', 'environment', 'Close pages that nobody looks at, and try again in a moment.'),
  HOME_IN_USE: row('terminal', 'failedPrecondition', 'conflict', 'Stop the other coordinator, or name another folder with --home.'),
  UNREACHABLE: row('retryable', 'unavailable', 'unreachable', 'Check that a coordinator runs at that address: start one with `alumnus coordinator`.'),
  JOURNAL_CONFLICT: row('terminal', 'aborted', 'conflict', 'Another coordinator leads; this one has stepped down.'),
  JOURNAL_UNREACHABLE: row('retryable', 'unavailable', 'unreachable', 'Check that the NATS servers run and that --journal names them; what was acknowledged is there.'),
  JOURNAL_UNSUITABLE: row('terminal', 'failedPrecondition', 'environment', 'Set the NATS servers up as docs/journal.md describes, then start again.'),
  JOURNAL_FORBIDDEN: row('terminal', 'permissionDenied', 'environment', 'Give the coordinator\'s NATS user the permissions that docs/journal.md lists.'),
  JOURNAL_UNREADABLE: row('terminal', 'dataLoss', 'environment', 'Where facts are missing, stop every coordinator that still runs, start them again, then `alumnus reconcile --dry-run` and `alumnus reconcile`; or restore the journal from a copy. Where it is of a newer release, upgrade.'),
  TIMED_OUT: row('retryable', 'deadlineExceeded', 'timedOut', 'Try again, or allow more time with --timeout.'),
  INTERNAL: row('terminal', 'internal', 'runFailed', 'This is a defect: report it with the message and the log.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

/**
 * What a person meets: `what` happened, `where` (file, field, address; may be empty) and, from the table, what to do next.
 * `problems`: where several things are wrong at once, each as a line of its own; `what` names them all too, since it
 * alone travels on the wire and into logs.
 */
export class AlumnusError extends Error {
  readonly code: ErrorCode;
  readonly where: string;
  readonly problems: readonly string[];

  constructor(code: ErrorCode, what: string, options: { where?: string; cause?: unknown; problems?: readonly string[] } = {}) {
    super(what, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AlumnusError';
    this.code = code;
    this.where = options.where ?? '';
    this.problems = options.problems ?? [];
  }

  get retryable(): boolean {
    return errorTable[this.code].kind === 'retryable';
  }

  get remedy(): string {
    return errorTable[this.code].remedy;
  }

  /** One line for a terminal: where, what, what to do next, code. */
  get sentence(): string {
    return this.#sentenceOf(this.message);
  }

  /** For a terminal too: the sentence, or, where there are several problems, their number and then each on its line. */
  get lines(): string[] {
    const { problems } = this;
    return problems.length < 2 ? [this.sentence] : [this.#sentenceOf(`${problems.length} problems`), ...problems.map((problem) => `  ${problem}`)];
  }

  #sentenceOf(what: string): string {
    const where = this.where === '' ? '' : `${this.where}: `;
    const stop = /[.!?]$/.test(what) ? '' : '.';
    return `${where}${what}${stop} ${this.remedy} [${this.code}]`;
  }
}

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code);

/** Any thrown value as an `AlumnusError`, so that every edge reports the same way; system errors get their own rows. */
export function toAlumnusError(thrown: unknown, where = ''): AlumnusError {
  if (thrown instanceof AlumnusError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const system = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? String(thrown.code) : '';
  const path = typeof thrown === 'object' && thrown !== null && 'path' in thrown ? String(thrown.path) : where;
  const options = { where: path, cause: thrown };
  if (system === 'ENOSPC' || system === 'EDQUOT') return new AlumnusError('STORE_FULL', 'no space is left on the device', options);
  if (system === 'EACCES' || system === 'EROFS' || system === 'EPERM') return new AlumnusError('STORE_UNWRITABLE', 'the folder cannot be written to', options);
  if (system === 'EIO') return new AlumnusError('DISK_FAILED', 'the device cannot be read from or written to', options);
  if (system === 'EMFILE' || system === 'ENFILE') return new AlumnusError('FILES_EXHAUSTED', 'too many files are open', options);
  if (system === 'EADDRINUSE') return new AlumnusError('PORT_IN_USE', 'the port is in use', options);
  return new AlumnusError('INTERNAL', message, options);
}

/** States what must be true. Stays on in production: a wrong label costs more than a crash. */
export function invariant(condition: boolean, statement: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${statement}`);
}
