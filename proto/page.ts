/**
 * What the page's HTTP API answers (docs/dashboard.md): the documents of machine.ts as types, and the shapes that no message of the wire has. One description for the
 * coordinator, which makes them, for the worker's program that reads labels for it, and for the page. Types alone: nothing of it is there at run time.
 */
import type { ListRunsResponse, RunSummary, RunView, TaskView, WorkerView, GetStatusResponse } from './gen/alumnus/v1/operator.ts';
import type { NamedClass } from './told.ts';

/** What `pageForm` makes of a message. */
export type MachineForm<Value> =
  Value extends readonly (infer Item)[] ? MachineForm<Item>[]
    : Value extends { readonly $case: infer Case extends string; readonly value: infer Inner } ? { [Name in Case]: MachineForm<Inner> }
      : Value extends object ? { [Key in keyof Value as Key extends `${infer Name}Json` ? Name : Key]: Key extends 'stage' ? string : Key extends `${string}Json` ? unknown : MachineForm<Value[Key]> }
        : Value;

export interface Document<Kind extends string> {
  readonly apiVersion: string;
  readonly kind: Kind;
}

/** Of every answer that is none. */
export interface ErrorAnswer extends Document<'Error'> {
  readonly code: string;
  readonly message: string;
  readonly where: string;
  readonly remedy: string;
  /** Of NOT_LEADER: `host:port` at which the leader's gRPC answers; empty where nobody is known to lead. */
  readonly leader?: string;
}

export type RoleName = 'viewer' | 'operator' | 'worker';

export interface CallerAnswer extends Document<'Caller'> {
  readonly name: string;
  /** By project; `*` is what belongs to none. Projects that the caller has no role in are not told. */
  readonly roles: Readonly<Record<string, RoleName>>;
}

/** What an operator may ask of a run; `commands` of a summary names those that it may be asked now. */
export type RunCommand = 'pause' | 'resume' | 'retry' | 'promote' | 'rollback' | 'cancel' | 'kill';

export type SummaryAnswer = MachineForm<RunSummary>;
export type StatusAnswer = MachineForm<GetStatusResponse>;
/** `tasksUntold`: open tasks that `tasks` leaves away: a page shows a stage of thousands of shards as a map. */
export type RunAnswer = Omit<MachineForm<RunView>, 'summary'> & { readonly summary: SummaryAnswer; readonly tasksUntold: number };
export type TaskAnswer = MachineForm<TaskView>;
export type RunsAnswer = Document<'RunList'> & Omit<MachineForm<ListRunsResponse>, 'runs'> & { readonly runs: readonly SummaryAnswer[] };

/** `retrying`: it failed, and waits to be taken again. */
export type CellState = 'waiting' | 'leased' | 'retrying' | 'done' | 'quarantined';
/** A shard's state, then as far as there is one: who has it, and how much of it is done, 0 to 1. */
export type ShardCell = readonly [state: CellState, workerId?: string, done?: number];

export interface ShardsAnswer extends Document<'ShardMap'> {
  readonly runId: string;
  readonly iteration: number;
  readonly stage: string;
  /** By the shard's subject, in order. */
  readonly cells: Readonly<Record<string, ShardCell>>;
}

export interface ShardAnswer extends Document<'Shard'> {
  readonly runId: string;
  readonly subject: string;
  /** 0 where the run does not tell. */
  readonly samples: number;
  /** Of the open task that is about it. */
  readonly taskId?: string;
  /** Why it was given up, or its last attempt failed. */
  readonly reason?: string;
}

export interface WorkerRow extends MachineForm<WorkerView> {
  /** The oldest of its leases: what its device has in hand. */
  readonly task?: { readonly taskId: string; readonly runId: string; readonly iteration: number; readonly stage: string; readonly subject: string; readonly progress?: TaskAnswer['progress'] };
  /** The newest teacher that it says to hold. */
  readonly teacher?: { readonly runId: string; readonly iteration: number };
}

export interface FleetCounts {
  readonly busy: number;
  readonly idle: number;
  readonly lost: number;
}

export interface WorkersAnswer extends Document<'WorkerList'> {
  readonly counts: FleetCounts;
  /** As many as the question's search and state leave, of which `workers` are those from `from` on. */
  readonly matching: number;
  readonly from: number;
  readonly workers: readonly WorkerRow[];
}

/** One fact of a run in words. */
export interface EventRow {
  readonly number: number;
  readonly atMs: number;
  readonly kind: string;
  readonly text: string;
  readonly iteration: number;
  readonly taskId: string;
  readonly workerId: string;
}

export interface EventsAnswer extends Document<'EventList'> {
  readonly events: readonly EventRow[];
}

export interface ExplainAnswer extends Document<'TaskExplanation'> {
  readonly taskId: string;
  readonly state: string;
  /** The first is what must be gone before anything else matters. */
  readonly reasons: readonly { readonly kind: string; readonly text: string }[];
  readonly view?: TaskAnswer;
}

/** A training under way, as its worker tells its loss: steps of the training, or of the replica's rounds one after another. */
export interface LiveCurve {
  readonly iteration: number;
  /** `student`, `control` or `comparison.NAME`, and their `.fine-tuned`. */
  readonly training: string;
  /** Of a training that several share; -1 of one that isn't. */
  readonly replica: number;
  readonly steps: readonly number[];
  readonly losses: readonly number[];
}

export interface CurvesAnswer extends Document<'CurveList'> {
  readonly curves: readonly LiveCurve[];
}

/** Pseudo-labels of one iteration by confidence and class. */
export interface LabelHistogram {
  readonly iteration: number;
  /** In log-odds: bin `b` holds [from + b width, from + (b + 1) width); the first and the last also all beyond. */
  readonly from: number;
  readonly width: number;
  /** By class, a count a bin. */
  readonly classes: readonly (readonly number[])[];
  /** Shards whose tallies these are, of those that are labeled: a large run's are not all read. */
  readonly shards: number;
  readonly shardsLabeled: number;
}

export interface LabelSample {
  readonly key: string;
  readonly shard: string;
  readonly label: NamedClass;
  readonly confidence: number;
  readonly copies: number;
  /** Where it is known: no teacher, student or selection was given it. */
  readonly truth?: NamedClass;
  /** Base64. */
  readonly png: string;
}

export interface LabelGallery {
  readonly iteration: number;
  readonly confident: readonly LabelSample[];
  readonly near: readonly LabelSample[];
  readonly thrownOut: readonly LabelSample[];
  /** Shards that were looked through, of those that are labeled. */
  readonly shards: number;
  readonly shardsLabeled: number;
}

export type HistogramAnswer = Document<'LabelHistogram'> & LabelHistogram;
export type GalleryAnswer = Document<'LabelGallery'> & LabelGallery;

/**
 * An event of the stream: fields of a document that changed, and those that are gone. The first of each name after a (re)connection is `whole`. `beat` has no fields: it says that the
 * connection lives. `failed` holds an ErrorAnswer, and ends the stream.
 */
export interface Patch {
  readonly whole?: true;
  readonly set: Readonly<Record<string, unknown>>;
  readonly gone: readonly string[];
}

export type StreamName = 'status' | 'runs' | 'fleet' | 'run' | 'shards' | 'curves';
