/**
 * Books of trainings that several workers share: I14, I15 and I16 of checker.ts, from the facts and from what workers are
 * handed.
 */
import { isDeepStrictEqual } from 'node:util';
import { comparisonSubject, partOf } from '../../../proto/subjects.ts';
import type { RoundClosed, RoundOpened, TaskPlace } from '../../../proto/gen/alumnus/v1/events.ts';
import type { Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import type { RunState } from '../../../coordinator/run/index.ts';
import { must, Violation } from '../violation.ts';
import type { World } from '../world.ts';

/** A round of a shared training, as the journal has it. */
export interface SharedRound {
  readonly replicas: number;
  /** Absent while it is open. */
  included?: readonly number[];
}

/** Of a training that is shared: what was journalled of it, and which places of the data were handed out. */
interface SharedBook {
  readonly rounds: SharedRound[];
  /** Accepted states, by `round.replica`. */
  readonly states: Map<string, string>;
  /** What each round's merge wrote. */
  readonly merged: string[];
  readonly places: Map<number, { readonly taskId: string; readonly end: number }>;
}

const bookKey = (runId: string, { iteration, try: attempt }: Pick<TaskPlace, 'iteration' | 'try'>, training: string): string => `${runId} i${iteration} ${training} t${attempt}`;

export class SharedTrainings {
  readonly #world: World;
  readonly #books = new Map<string, SharedBook>();

  constructor(world: World) {
    this.#world = world;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#books.clear();
  }

  #book(runId: string, place: Pick<TaskPlace, 'iteration' | 'try'>, training: string): SharedBook {
    const key = bookKey(runId, place, training);
    const book: SharedBook = this.#books.get(key) ?? { rounds: [], states: new Map(), merged: [], places: new Map() };
    this.#books.set(key, book);
    return book;
  }

  /** How a round of a training went; undefined where it was never opened. */
  round(runId: string, training: TaskPlace, round: number): SharedRound | undefined {
    return this.#books.get(bookKey(runId, training, training.subject))?.rounds[round];
  }

  opened(runId: string, { training, round, replicas }: RoundOpened, before: RunState | undefined): void {
    const book = this.#book(runId, training as TaskPlace, training?.subject ?? '');
    const wish = before?.recipe.training.replicas;
    must(before?.phase === 'running', `round ${round} of ${training?.taskId} was opened while its run was ${before?.phase}`);
    must(round === book.rounds.length && round === book.merged.length, `round ${round} of ${training?.taskId} was opened after ${book.rounds.length} rounds and ${book.merged.length} merges`);
    must(wish === 'auto' ? replicas >= 1 && replicas <= 64 : replicas === wish, `round ${round} of ${training?.taskId} was opened with ${replicas} replicas, and the recipe has ${wish}`);
    const last = book.rounds.at(-1)?.replicas ?? replicas;
    if (replicas > last) this.#world.count('branch: a shared training grows');
    if (replicas < last) this.#world.count('branch: a shared training shrinks');
    if (replicas === 1) this.#world.count('branch: a round of one replica');
    book.rounds.push({ replicas });
  }

  closed(runId: string, { training, round, replicas }: RoundClosed, before: RunState | undefined): void {
    const book = this.#book(runId, training as TaskPlace, training?.subject ?? '');
    const opened = book.rounds[round];
    const told = `round ${round} of ${training?.taskId}`;
    must(before?.phase === 'running', `${told} was closed while its run was ${before?.phase}`);
    if (opened === undefined || opened.included !== undefined || round !== book.rounds.length - 1) throw new Violation(`${told} was closed, and is not open`);
    must(replicas.length > 0 && replicas.length / opened.replicas >= (before?.recipe.training.sharing?.quorum ?? 1), `${told} was closed with ${replicas.length} of ${opened.replicas} replicas, fewer than its quorum`);
    must(replicas.every((replica, at) => book.states.has(`${round}.${replica}`) && (at === 0 || replica > (replicas[at - 1] ?? 0))), `${told} was closed with ${replicas.join(', ')}, of which not all were accepted, or not in order`);
    const givenUp = before?.rounds.get(training?.taskId ?? '')?.current?.givenUp.size ?? 0;
    if (replicas.length + givenUp < opened.replicas) this.#world.count('branch: a straggler is left out');
    opened.included = [...replicas];
  }

  /** A replica or a merge was accepted. */
  part(runId: string, place: TaskPlace, result: TaskResult['result'], before: RunState): void {
    const part = partOf(place);
    if (part === undefined) return;
    const book = this.#book(runId, place, part.training);
    if (result?.$case === 'replica') {
      must(part.round === book.rounds.length - 1 && book.rounds[part.round]?.included === undefined, `${place.taskId} was accepted, and its round is not open`);
      book.states.set(`${part.round}.${part.replica}`, result.value.state?.sha256 ?? '');
    }
    if (result?.$case !== 'merge') return;
    must(part.round === book.merged.length && book.rounds[part.round]?.included !== undefined, `${place.taskId} was accepted after ${book.merged.length} merges, or before its round was closed`);
    book.merged.push(result.value.merged?.sha256 ?? '');
    const { comparisons = [], training: { teacher, student, sharing } } = before.recipe;
    const own = comparisons.find(({ name }) => comparisonSubject(name) === part.training)?.steps;
    const rounds = Math.ceil((own ?? (place.iteration === 0 && part.training === 'student' ? teacher : student).steps) / (sharing?.local_steps ?? 1));
    must((result.value.trained !== undefined) === (book.merged.length === rounds), `${place.taskId} ${result.value.trained === undefined ? 'leaves' : 'ends'} its training after ${book.merged.length} of ${rounds} merges`);
    if (result.value.trained !== undefined) this.#world.count('branch: a shared training is done');
  }

  /** I15: a worker is handed a part of one. */
  handedOut(task: Task): void {
    const part = partOf(task);
    const { spec } = task;
    if (part === undefined || (spec?.$case !== 'replica' && spec?.$case !== 'merge')) return;
    const book = this.#book(task.runId, task, part.training);
    const before = book.rounds[part.round - 1];
    must((spec.value.merged?.sha256 ?? '') === (part.round === 0 ? '' : book.merged[part.round - 1] ?? 'missing'), `${task.taskId} begins with other weights than the merge before wrote`);
    if (spec.$case === 'merge') {
      const wanted = (book.rounds[part.round]?.included ?? []).map((replica) => `${replica} ${book.states.get(`${part.round}.${replica}`)}`);
      must(wanted.length > 0 && isDeepStrictEqual(spec.value.inputs.map(({ replica, state }) => `${replica} ${state?.sha256}`), wanted), `${task.taskId} merges other replicas than its round was closed with`);
      return;
    }
    const { replica, firstBatch, steps, optimizer } = spec.value;
    const heir = before?.included?.[replica];
    must((optimizer?.sha256 ?? '') === (heir === undefined ? '' : book.states.get(`${part.round - 1}.${heir}`) ?? 'missing'), `${task.taskId} inherits another optimizer's state than that of a replica that was merged`);
    for (const [from, { taskId, end }] of book.places) must(taskId === task.taskId || end <= firstBatch || from >= firstBatch + steps, `${task.taskId} reads places ${firstBatch} to ${firstBatch + steps} of the data, some of which ${taskId} has`);
    book.places.set(firstBatch, { taskId: task.taskId, end: firstBatch + steps });
  }

  /** Whether the task is a replica that its round was closed without. */
  isLeftOut(task: Task): boolean {
    const part = partOf(task);
    if (part?.replica === undefined) return false;
    return this.#books.get(bookKey(task.runId, task, part.training))?.rounds[part.round]?.included?.includes(part.replica) === false;
  }
}
