/**
 * What an operator measures of a coordinator, for Prometheus: names and units by its conventions (prometheus.io/docs/practices/naming), no label without a bound.
 * Counters and histograms are told of as things happen; gauges look at whoever leads when they are read, and have no values on one that stands by.
 * Not for: serving them (telemetry). Measuring costs a run nothing and decides nothing.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../proto/stages.ts';
import type { ObjectStore } from '../store/index.ts';
import { counter, gauge, histogram, StoreMetrics, WRITE_BUCKETS } from '../telemetry/index.ts';
import type { Journal } from './journal/index.ts';
import type { Leader, Observation } from './leader.ts';

/** Seconds: a task takes from a moment to hours. */
const TASK_BUCKETS = [0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1_800, 3_600, 10_800];

/** Since when a task waits, in the leader's clock; or why it does not. */
type Waiting = number | 'leased' | 'paused';

const kindOf = ({ spec }: Task): string => spec?.$case ?? 'none';
/** What a task is and where in its run; a tar to index is of no run, and has no stage. */
const labelsOf = (task: Task): { kind: string; stage: string } => ({ kind: kindOf(task), stage: stageName(task.stage) });

export class CoordinatorMetrics {
  readonly registry = new Registry();
  /** Who led here last. */
  #led: Leader | undefined;
  /** Open tasks by run and id. */
  readonly #waiting = new Map<string, Map<string, Waiting>>();
  readonly #wait = histogram(this.registry, 'alumnus_task_wait_seconds', 'Time that tasks waited to be granted, since they were open or their last attempt failed, by what they are.', ['kind', 'stage'], TASK_BUCKETS);
  readonly #run = histogram(this.registry, 'alumnus_task_run_seconds', 'Time from the grant of tasks to their accepted results, by what they are.', ['kind', 'stage'], TASK_BUCKETS);
  readonly #lost = counter(this.registry, 'alumnus_leases_lost_total', 'Leases that ended without a result, by what the task is and by the code of the table of errors.', ['kind', 'reason']);
  readonly #labeled = counter(this.registry, 'alumnus_images_labeled_total', 'Unlabeled images whose labels by a teacher were accepted.');
  readonly #trained = counter(this.registry, 'alumnus_images_trained_total', 'Images that accepted trainings saw, copies and repetitions counted.');
  readonly #quarantined = counter(this.registry, 'alumnus_shards_quarantined_total', 'Shards that were given up.');
  readonly #decided = counter(this.registry, 'alumnus_students_total', 'Students that were decided on.', ['decision']);
  readonly #ended = counter(this.registry, 'alumnus_runs_ended_total', 'Runs that ended here.', ['state']);
  readonly #terms = counter(this.registry, 'alumnus_leader_changes_total', 'Times that this coordinator began to lead.');
  readonly #appended = histogram(this.registry, 'alumnus_journal_append_seconds', 'Time that appends of a group of facts to the journal took.', [], WRITE_BUCKETS);
  readonly #facts = counter(this.registry, 'alumnus_journal_facts_total', 'Facts that were journalled here.');
  readonly #store = new StoreMetrics(this.registry);

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const leading = (): Leader | undefined => (this.#led?.failure === undefined ? this.#led : undefined);
    const look = (name: string, help: string, labels: readonly string[], values: (leader: Leader) => Iterable<readonly [Readonly<Record<string, string>>, number]>): void => {
      gauge(this.registry, name, help, labels, () => {
        const leader = leading();
        return leader === undefined ? [] : values(leader);
      });
    };
    // There from the beginning, so that the first of them is an increase.
    for (const decision of ['promoted', 'refused']) this.#decided.inc({ decision }, 0);
    for (const state of ['succeeded', 'failed', 'cancelled']) this.#ended.inc({ state }, 0);
    gauge(this.registry, 'alumnus_leader', 'Whether this coordinator leads: 1 or 0.', [], () => [[{}, leading() === undefined ? 0 : 1]]);
    look('alumnus_term', 'The term that this coordinator leads.', [], ({ term }) => [[{}, term]]);
    look('alumnus_runs', 'Runs in the journal, by state.', ['state'], (leader) => counted(leader.runs().map(({ phase }) => ({ state: phase }))));
    look('alumnus_tasks', 'Open tasks, by what they are and how they are: waiting, backing_off (after a failed attempt), leased, paused (with their run). Tars that an operator has indexed are of kind index, without a stage.', ['kind', 'stage', 'state'], (leader) => counted([
      ...leader.runs().map(({ runId, phase }) => ({ queue: runId, isPaused: phase === 'paused' })),
      ...leader.indexing.ids().map((queue) => ({ queue, isPaused: false })),
    ].flatMap(({ queue, isPaused }) => leader.scheduler.tasksOf(queue).map(({ task, leases, notBeforeMs }) =>
      ({ ...labelsOf(task), state: leases.length > 0 ? 'leased' : isPaused ? 'paused' : notBeforeMs > leader.now() ? 'backing_off' : 'waiting' })))));
    look('alumnus_workers', 'Workers by state: live, or silent since its time to be heard of was over.', ['state'], (leader) => counted(leader.scheduler.workers().map(({ worker }) => ({ state: leader.scheduler.isLive(worker.workerId, leader.now()) ? 'live' : 'silent' }))));
    look('alumnus_commands_waiting', 'Commands that wait for the journal.', [], (leader) => [[{}, leader.waiting]]);
  }

  leads(leader: Leader): void {
    this.#led = leader;
    this.#terms.inc();
    // Of another term: what it waited for meanwhile nobody here has seen.
    this.#waiting.clear();
    for (const { runId, phase } of leader.runs()) {
      const tasks = leader.scheduler.tasksOf(runId).map(({ task }) => task);
      if (tasks.length > 0) this.observe({ kind: 'opened', runId, tasks, granting: phase === 'running' }, leader.now());
    }
  }

  /** For whoever leads here. */
  observe(observation: Observation, nowMs: number): void {
    switch (observation.kind) {
      case 'opened': {
        const { runId, tasks, granting } = observation;
        const known = this.#waiting.get(runId);
        if (tasks.length === 0) this.#waiting.delete(runId);
        else this.#waiting.set(runId, new Map(tasks.map(({ taskId }) => [taskId, waitingOf(known?.get(taskId), granting, nowMs)])));
        return;
      }
      case 'granted': {
        const { task } = observation;
        const since = this.#waiting.get(task.runId)?.get(task.taskId);
        // A second lease of a straggler has not waited, whoever granted the first.
        if (typeof since === 'number' && !observation.isSecond) this.#wait.observe(labelsOf(task), (nowMs - since) / 1000);
        return this.#becomes(task, 'leased');
      }
      case 'taken-back':
        return this.#becomes(observation.task, nowMs);
      case 'done':
        return this.#run.observe(labelsOf(observation.task), observation.ranMs / 1000);
      case 'lost':
        if (!observation.isLeased) this.#becomes(observation.task, nowMs);
        return this.#lost.inc({ kind: kindOf(observation.task), reason: observation.code });
      case 'journalled':
        this.#facts.inc(observation.events.length);
        // What was done long ago is not done now.
        if (observation.restored) return;
        for (const { fact } of observation.events) this.#count(fact);
    }
  }

  /** Where it is an open task of a run's. */
  #becomes({ runId, taskId }: Task, waiting: Waiting): void {
    this.#waiting.get(runId)?.set(taskId, waiting);
  }

  #count(fact: Event['fact']): void {
    switch (fact?.$case) {
      case 'taskCompleted': {
        const { result } = fact.value.result ?? {};
        if (result?.$case === 'label') this.#labeled.inc(result.value.samples);
        if (result?.$case === 'train' || result?.$case === 'replica') this.#trained.inc(result.value.images);
        return;
      }
      case 'taskQuarantined': return fact.value.place?.stage === Stage.LABEL ? this.#quarantined.inc() : undefined;
      case 'studentPromoted': return this.#decided.inc({ decision: 'promoted' });
      case 'studentRefused': return this.#decided.inc({ decision: 'refused' });
      case 'runSucceeded': return this.#ended.inc({ state: 'succeeded' });
      case 'runFailed': return this.#ended.inc({ state: 'failed' });
      case 'runCancelled': return this.#ended.inc({ state: 'cancelled' });
      default:
    }
  }

  /** The journal whose appends are measured. */
  journal(journal: Journal): Journal {
    const append: Journal['append'] = async (expectedSequence, term, events) => {
      const ended = this.#appended.startTimer();
      try {
        return await journal.append(expectedSequence, term, events);
      } finally {
        ended();
      }
    };
    return {
      append,
      get description() { return journal.description; },
      get factBytesMax() { return journal.factBytesMax; },
      get lastSequence() { return journal.lastSequence; },
      begin: () => journal.begin(),
      read: (sequence) => journal.read(sequence),
      snapshot: () => journal.snapshot(),
      truncate: (snapshot) => journal.truncate(snapshot),
      close: () => journal.close(),
    };
  }

  store(store: ObjectStore): ObjectStore {
    return this.#store.of(store);
  }
}

/** Of a run that is paused nothing waits: it begins again when the run goes on. */
function waitingOf(known: Waiting | undefined, granting: boolean, nowMs: number): Waiting {
  if (known === 'leased') return known;
  if (!granting) return 'paused';
  return typeof known === 'number' ? known : nowMs;
}

/** How often each set of labels is there. */
function counted(labels: Iterable<Readonly<Record<string, string>>>): [Readonly<Record<string, string>>, number][] {
  const byText = new Map<string, [Readonly<Record<string, string>>, number]>();
  for (const each of labels) {
    const text = Object.values(each).join('\n');
    const known = byText.get(text);
    if (known === undefined) byText.set(text, [each, 1]);
    else known[1] += 1;
  }
  return [...byText.values()];
}
