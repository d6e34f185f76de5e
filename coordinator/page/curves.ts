/**
 * Losses of trainings under way, as workers tell them with their renewals: a leader keeps the last one, the page a curve. Lives in memory: a new leader begins new curves; that of a training
 * that is done is in its result. Not for: facts.
 * Invariant: a curve has at most POINTS_MAX points; a long one loses every other of them, so that what is left is spread evenly.
 */
import type { LiveCurve } from '../../proto/page.ts';
import { partOf } from '../../proto/subjects.ts';
import type { Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { Leader } from '../leader.ts';
import { isEnded } from '../run/index.ts';

const POINTS_MAX = 240;
/** Curves kept of one run: replicas of a training, the control and comparisons. */
const CURVES_MAX = 256;

interface Curve {
  readonly iteration: number;
  readonly training: string;
  readonly replica: number;
  steps: number[];
  losses: number[];
}

export class Curves {
  readonly #runs = new Map<string, Map<string, Curve>>();

  /** To be called about once a second. */
  look(leader: Leader): void {
    const runs = leader.runs();
    for (const run of runs) {
      if (isEnded(run.phase)) this.#runs.delete(run.runId);
      else for (const { task, leases } of leader.scheduler.tasksOf(run.runId)) if (isTraining(task)) for (const { progress } of leases) if (progress !== undefined) this.#add(task, progress.done, progress.loss);
    }
    const known = new Set(runs.map(({ runId }) => runId));
    for (const runId of this.#runs.keys()) if (!known.has(runId)) this.#runs.delete(runId);
  }

  of(runId: string): readonly LiveCurve[] {
    return [...this.#runs.get(runId)?.values() ?? []];
  }

  #add(task: Task, done: number, loss: number): void {
    if (done <= 0 || !Number.isFinite(loss) || loss === 0) return;
    const part = partOf(task);
    const [training, replica] = part === undefined ? [task.subject, -1] : [part.training, part.replica ?? -1];
    const firstStep = task.spec?.$case === 'replica' ? task.spec.value.firstStep : 0;
    const curves = this.#runs.get(task.runId) ?? new Map<string, Curve>();
    this.#runs.set(task.runId, curves);
    const key = `${task.iteration}/${task.try}/${training}/${replica}`;
    let curve = curves.get(key);
    if (curve === undefined) curves.set(key, curve = { iteration: task.iteration, training, replica, steps: [], losses: [] });
    const step = firstStep + done;
    // An attempt that begins again, from its checkpoint say, tells its own course from there on.
    while ((curve.steps.at(-1) ?? -1) >= step) {
      if (curve.steps.at(-1) === step) return;
      curve.steps.pop();
      curve.losses.pop();
    }
    curve.steps.push(step);
    curve.losses.push(loss);
    if (curve.steps.length > POINTS_MAX) {
      curve.steps = curve.steps.filter((_, at) => at % 2 === 0);
      curve.losses = curve.losses.filter((_, at) => at % 2 === 0);
    }
    for (const oldest of curves.keys()) {
      if (curves.size <= CURVES_MAX) break;
      curves.delete(oldest);
    }
  }
}

const isTraining = ({ spec }: Task): boolean => spec?.$case === 'train' || spec?.$case === 'replica';
