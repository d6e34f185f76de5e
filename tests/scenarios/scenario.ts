/**
 * Plays a scenario: commands against `decide`, after each the facts that were decided, and after each block where the
 * run stands and its open tasks. A block is commands, a line of dashes, and the trace expected of them; the form is that of
 * the testdata of etcd's raft. `UPDATE_SCENARIOS=1 npx vitest run tests/scenarios` writes the traces anew.
 *
 *   submit rounds=2 shards=3 …               on_refusal, tries_max, require, alpha, share, attempts, control, truth, test, balance, ladder=16,24, device_hours, wall_hours, coverage, budget_per_class,
 *                                            replicas, local_steps, quorum, straggler_wait, steps (of every training), fleet,
 *                                            threshold, precision, class_share_least, class_share_most, calibration_most, fine_tune=STEPS or fine_tune=STEPS,teaches, teacher=URL, near=yes, distill=yes
 *                                            comparisons=NAME:WIDTH,…, compress=KEPT
 *   complete STAGE SUBJECT [by WORKER] …     params, right, test_right, bytes (of a measurement, float32), empty=0,2, eligible=5,10,10, device=HOURS, student=+A/-B, iteration, try; near=N (in a shard that is looked through); of an evaluation
 *                                            truth=100,800,100 (validation by class), error=0.2, bins=0.3:60/100,0.9:890/900 (right of all from a confidence on)
 *   complete all [by WORKER]                 every open task of the stage
 *   fail STAGE SUBJECT [by WORKER] …         code, message, counts=no, fleet, held=HOURS, iteration, try
 *   evaluate student=+A/-B [right=N]         completes the student's evaluation
 *   review NAME images=N                      a person's labels of so many images
 *   pause | resume | cancel | kill | retry   resume in_flight=HOURS
 *   promote | rollback [to=ITERATION]        a person's word on models
 *   wait HOURS                               nothing but time
 *   clock [in_flight=HOURS]                  the leader's tick: wall time, and device time of attempts under way
 *   budget [device_hours=N] [wall_hours=N]   in_flight=HOURS
 *
 * Each of them but `wait` may name the fleet, fleet=N: the workers that live; and leases=N: attempts of the run that are under way. Without them whoever
 * commands does not know.
 *
 * A task that is no longer open is found among those that once were, so that late and repeated answers can be given.
 * A completion names in brackets what it puts in: the digests' first characters tell a kept label from a new one.
 */
import { expect } from 'vitest';
import { AlumnusError } from '../../proto/errors.ts';
import type { Event, TaskPlace } from '../../proto/gen/alumnus/v1/events.ts';
import type { ConfidenceBin, LeftOut, ObjectRef, Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { ModelChoice, RecipeInput } from '../../recipe/index.ts';
import { stageName } from '../../proto/stages.ts';
import { chosenOf, decide, isBeside, MS_PER_HOUR, openTasks, type Command, type RunState } from '../../coordinator/run/index.ts';
import { answer, fold, makeData, makeRecipe, sha256, type AnswerWishes } from '../unit/coordinator/work.ts';

export interface Block {
  readonly comments: string[];
  readonly commands: string[];
  readonly expected: string[];
}

const SEPARATOR = '----';
/** Not told in traces: only other ones are. */
const PUBLISHED_THRESHOLD = 0.3;
/** More open shards, or replicas, than this are told by their number. */
const LABELS_TOLD_MAX = 4;

export function parseScenario(text: string): Block[] {
  const blocks: Block[] = [];
  for (const paragraph of text.split(/\n{2,}/)) {
    const lines = paragraph.split('\n').filter((line) => line !== '');
    if (lines.length === 0) continue;
    const dashes = lines.indexOf(SEPARATOR);
    const before = dashes < 0 ? lines : lines.slice(0, dashes);
    blocks.push({
      comments: before.filter((line) => line.startsWith('#')),
      commands: before.filter((line) => !line.startsWith('#')),
      expected: dashes < 0 ? [] : lines.slice(dashes + 1),
    });
  }
  return blocks;
}

export const printScenario = (blocks: readonly Block[]): string =>
  `${blocks.map((block) => [...block.comments, ...(block.commands.length === 0 ? [] : [...block.commands, SEPARATOR, ...block.expected])].join('\n')).join('\n\n')}\n`;

interface Words {
  readonly plain: string[];
  readonly named: Readonly<Record<string, string>>;
}

function wordsOf(line: string): Words {
  const plain: string[] = [];
  const named: Record<string, string> = {};
  for (const word of line.split(/\s+/)) {
    const at = word.indexOf('=');
    if (at > 0) named[word.slice(0, at)] = word.slice(at + 1);
    else plain.push(word);
  }
  return { plain, named };
}

const short = (place: Pick<TaskPlace, 'iteration' | 'stage' | 'subject' | 'try'>): string => `i${place.iteration} ${stageName(place.stage)} ${place.subject}${place.try > 0 ? ` try ${place.try}` : ''}`;
const shortDigest = (digest: string | undefined): string => (digest ?? 'none').slice(0, 6);

function printFact({ fact }: Event): string {
  if (fact === undefined) return 'nothing';
  const place = 'place' in fact.value && fact.value.place !== undefined ? short(fact.value.place) : '';
  switch (fact.$case) {
    case 'runSubmitted': return `submitted ${fact.value.name}`;
    case 'taskCompleted': return `completed ${place} by ${fact.value.workerId}`;
    case 'taskFailed': return `failed ${place} on ${fact.value.workerId}: ${fact.value.code}${fact.value.counts ? '' : ', does not count'}`;
    case 'checkpointReached': return `checkpoint of ${place} at step ${fact.value.checkpoint?.step} by ${fact.value.workerId}`;
    case 'taskQuarantined': return `quarantined ${place}: ${fact.value.reason}`;
    case 'stageEntered': return `entered i${fact.value.iteration} ${stageName(fact.value.stage)}${fact.value.try > 0 ? ` try ${fact.value.try}` : ''}`;
    case 'studentPromoted':
    case 'studentRefused': {
      const { gate, iteration } = fact.value;
      const told = gate === undefined ? 'without a gate' : `+${gate.studentOnlyRight}/-${gate.teacherOnlyRight} p=${gate.pValue.toPrecision(3)} alpha=${gate.alpha.toPrecision(3)} ${gate.reason}${gate.warning === '' ? '' : ` (${gate.warning})`}`;
      return `${fact.$case === 'studentPromoted' ? 'promoted' : 'refused'} i${iteration}: ${told}`;
    }
    case 'runPaused': return `paused by ${fact.value.by}${fact.value.rule === '' ? '' : ` (${fact.value.rule})`}: ${fact.value.reason}`;
    case 'runResumed': return 'resumed';
    case 'runRetried': return `retried by ${fact.value.by}`;
    case 'modelChosen': return `chosen i${fact.value.iteration}${fact.value.try > 0 ? ` try ${fact.value.try}` : ''} by ${fact.value.by}: ${fact.value.reason}`;
    case 'runCancelled': return `cancelled: ${fact.value.reason}`;
    case 'runFailed': return `run failed: ${fact.value.code}: ${fact.value.reason}`;
    case 'runSucceeded': return `run succeeded with the model of i${fact.value.bestIteration}`;
    case 'budgetChanged': return `budget changed to ${fact.value.deviceHours} device hours, ${fact.value.wallHours} wall hours`;
    case 'roundOpened': return `opened round ${fact.value.round} of ${short(fact.value.training as TaskPlace)} with ${fact.value.replicas} replicas`;
    case 'roundClosed': return `closed round ${fact.value.round} of ${short(fact.value.training as TaskPlace)} with ${fact.value.replicas.map((replica) => `k${replica}`).join(' ')}`;
    case 'labelsReviewed': return `reviewed ${fact.value.samples} images, from i${fact.value.fromIteration} on`;
    case 'manifestWritten': return `manifest ${fact.value.number}`;
  }
}

/** What a task is given, in a few characters: a kept input shows as equal digests. */
function inputs(task: Task): string {
  switch (task.spec?.$case) {
    case 'label': return `teacher ${shortDigest(task.spec.value.teacher?.sha256)}`;
    case 'select': return `shards ${task.spec.value.shards.map((each) => `${each.shard.slice(-1)}:${shortDigest(each.labels?.sha256)}`).join(' ')}${task.spec.value.threshold === PUBLISHED_THRESHOLD ? '' : ` threshold ${task.spec.value.threshold}`}${leftOut(task.spec.value.leftOut)}`;
    case 'train': return `${task.spec.value.model?.name} width=${task.spec.value.model?.options.width} seed ${task.seed}${task.spec.value.selection === undefined ? '' : ` selection ${shortDigest(task.spec.value.selection.sha256)}`}${task.spec.value.labeled?.reviewed === undefined ? '' : ` with ${task.spec.value.labeled.samples} labeled images, reviewed ${shortDigest(task.spec.value.labeled.reviewed.sha256)}`}${task.spec.value.begin === undefined ? '' : ` begins with ${shortDigest(task.spec.value.begin.sha256)}`}`;
    case 'evaluate': return `model ${shortDigest(task.spec.value.model?.sha256)} against ${shortDigest(task.spec.value.baseline?.sha256)}`;
    case 'import': return `from ${(JSON.parse(task.spec.value.teacherJson) as { url: string }).url}`;
    case 'fingerprint': return task.spec.value.against === undefined ? 'of validation and test' : `against ${shortDigest(task.spec.value.against.sha256)}`;
    case 'measure': return `model ${shortDigest(task.spec.value.model?.sha256)} in ${task.spec.value.weights.join(' ')}`;
    case 'audit': return `selection ${shortDigest(task.spec.value.selection?.sha256)}`;
    case 'replica': {
      const { firstStep, steps, firstBatch, merged, optimizer } = task.spec.value;
      return `steps ${firstStep}+${steps}, batches from ${firstBatch}, weights ${shortDigest(merged?.sha256)}, optimizer ${shortDigest(optimizer?.sha256)}`;
    }
    case 'merge': {
      const { firstStep, steps, merged, inputs: states, last, images } = task.spec.value;
      return `steps ${firstStep}+${steps}, from ${shortDigest(merged?.sha256)} to ${states.map((each) => `k${each.replica}:${shortDigest(each.state?.sha256)}`).join(' ')}, ${images} images${last ? ', last' : ''}`;
    }
    case 'index':
    case undefined: return '';
  }
}

const leftOut = (leftOut: LeftOut | undefined): string =>
  (leftOut === undefined ? '' : ` without${leftOut.nearDuplicates.map(({ sha256: digest }) => ` near ${shortDigest(digest)}`).join('')}${leftOut.reviewed === undefined ? '' : ` reviewed ${shortDigest(leftOut.reviewed.sha256)}`}`);

export class Scenario {
  #state: RunState | undefined;
  #events: Event[] = [];
  readonly #known: Task[] = [];
  #nowMs = 0;

  play(command: string): string[] {
    const { plain: [verb = '', ...rest], named } = wordsOf(command);
    this.#nowMs += 1000;
    const by = rest.indexOf('by');
    const workerId = by < 0 ? 'w1' : (rest.splice(by, 2)[1] ?? 'w1');
    if (verb === 'wait') {
      this.#nowMs += hoursMs(rest[0]);
      return [];
    }
    const leases = named.leases === undefined ? {} : { leases: Number(named.leases) };
    const knowing = (said: Command): Command => ({ ...said, ...leases, ...(said.kind === 'fail' || named.fleet === undefined ? {} : { fleet: Number(named.fleet) }) });
    if (verb === 'complete' && rest[0] === 'all') {
      const stage = this.#state?.stage;
      return this.#open().filter((task) => task.stage === stage && !isBeside(task)).flatMap((task) => this.#try(knowing({ kind: 'complete', task, workerId, result: answer(task) })));
    }
    return this.#try(knowing(this.#commandOf(verb, rest, named, workerId)));
  }

  #commandOf(verb: string, rest: string[], named: Words['named'], workerId: string): Command {
    switch (verb) {
      case 'submit':
        return { kind: 'submit', runId: 'run', recipe: makeRecipe(recipeWishes(named)), data: makeData({ shards: Number(named.shards ?? 3), truth: named.truth === 'yes', test: named.test !== 'no' }) };
      case 'complete': {
        const task = this.#find(rest, named);
        return { kind: 'complete', task, workerId, result: answer(task, answerWishes(named)) };
      }
      case 'evaluate': {
        const task = this.#find(['evaluate', 'student'], named);
        return { kind: 'complete', task, workerId, result: answer(task, answerWishes(named)) };
      }
      case 'fail':
        return { kind: 'fail', task: this.#find(rest, named), workerId, code: named.code ?? 'ENGINE_CRASHED', message: (named.message ?? 'died').replaceAll('_', ' '), counts: named.counts !== 'no', fleet: Number(named.fleet ?? 3), heldMs: hoursMs(named.held) };
      case 'checkpoint': {
        const task = this.#find(rest, named);
        const sum = sha256(`checkpoint of ${task.taskId} ${named.step}`);
        return { kind: 'checkpoint', task, workerId, checkpoint: { step: Number(named.step), ref: { key: `${named.below ?? task.outputPrefix}/${sum}.checkpoint`, sha256: sum, bytes: 1 } } };
      }
      case 'review': {
        const [name = 'review'] = rest;
        const samples = Number(named.images ?? 1);
        const ref = (what: string): ObjectRef => ({ key: `runs/run/reviewed/${what}-${name}`, sha256: sha256(`${what} of ${name}`), bytes: 1 });
        const shards = samples === 0 ? [] : [{ name: `reviewed-${name}`, ref: ref('images'), samples }];
        return { kind: 'review', review: { shards, labels: ref('labels'), reviewed: ref('table'), samples }, behind: named.behind === undefined ? this.#state?.reviews.at(-1)?.labels?.sha256 ?? this.#state?.data.labeled?.labels?.sha256 ?? '' : sha256(`labels of ${named.behind}`) };
      }
      case 'pause': return { kind: 'pause', reason: 'lunch' };
      case 'resume': return { kind: 'resume', inFlightMs: hoursMs(named.in_flight) };
      case 'clock': return { kind: 'clock', inFlightMs: hoursMs(named.in_flight) };
      case 'budget': return { kind: 'budget', deviceHours: hoursOf(named.device_hours), wallHours: hoursOf(named.wall_hours), inFlightMs: hoursMs(named.in_flight) };
      case 'cancel': case 'kill': return { kind: verb, reason: 'no longer needed' };
      case 'retry': return { kind: 'retry', by: 'ana' };
      case 'promote': case 'rollback': return { kind: verb, iteration: named.to === undefined ? undefined : Number(named.to), reason: 'looked at it', by: 'ana' };
      default: throw new Error(`a scenario has no command "${verb}"`);
    }
  }

  #open(): Task[] {
    const open = this.#state === undefined ? [] : openTasks(this.#state.phase === 'paused' ? { ...this.#state, phase: 'running' } : this.#state);
    for (const task of open) if (!this.#known.some((known) => known.taskId === task.taskId)) this.#known.push(task);
    return open;
  }

  #find([stage, subject]: string[], named: Words['named']): Task {
    const fits = (task: Task): boolean =>
      stageName(task.stage) === stage && task.subject === subject && (named.iteration === undefined || task.iteration === Number(named.iteration)) && (named.try === undefined || task.try === Number(named.try));
    const task = this.#open().find(fits) ?? this.#known.findLast(fits);
    if (task === undefined) throw new Error(`no task ${stage} ${subject} was ever open here`);
    return task;
  }

  #try(command: Command): string[] {
    try {
      const { events, state } = decide(this.#state, command, this.#nowMs);
      this.#events = [...this.#events, ...events];
      this.#state = state;
      // Every scenario checks this at every step: the journal alone gives the state.
      expect(fold(this.#events)).toEqual(state);
      return events.map(printFact);
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError)) throw thrown;
      return [`error ${thrown.code}: ${thrown.message}`];
    }
  }

  /** Where the run stands and what is open. */
  standing(): string[] {
    const state = this.#state;
    if (state === undefined) return ['no run'];
    const reason = state.reason === '' ? '' : `: ${state.reason}`;
    this.#open();
    const open = openTasks(state);
    const kept = [...state.checkpoints].map(([taskId, checkpoints]) => `  kept ${taskId.replace(/-[0-9a-f]*$/, '')} at step ${checkpoints.map((each) => each.step).join(', ')}`);
    const rounds = [...state.rounds.values()].map(({ training, merges, current }) => {
      const told = current === undefined ? 'not open' : `${current.results.size} of ${current.replicas} done${current.givenUp.size === 0 ? '' : `, ${[...current.givenUp.keys()].map((replica) => `k${replica}`).join(' ')} given up`}${current.included === undefined ? '' : ', closed'}`;
      return `  round ${merges} of ${short(training)}: ${told}`;
    });
    const chosen = chosenOf(state);
    const choice = chosen === undefined ? [] : [`  chosen ${chosen.name} in ${chosen.weights}, ${chosen.bytes} bytes, ${chosen.validation.total - chosen.validation.wrong} of ${chosen.validation.total} right`];
    const labels = open.filter((task) => task.spec?.$case === 'label' || task.spec?.$case === 'replica');
    const told = labels.length <= LABELS_TOLD_MAX ? open : open.filter((task) => !labels.includes(task));
    const many = labels.length <= LABELS_TOLD_MAX ? [] : [`  open ${labels.length} ${labels[0]?.spec?.$case}s, ${short(labels[0] as Task)} to ${labels.at(-1)?.subject}`];
    return [`= ${state.phase}, i${state.iteration} ${stageName(state.stage)}${state.try > 0 ? ` try ${state.try}` : ''}${reason}`, ...many, ...told.map((task) => `  open ${short(task)} [${inputs(task)}]`), ...kept, ...rounds, ...choice];
  }
}

const hoursMs = (hours = '0'): number => Number(hours) * MS_PER_HOUR;
const hoursOf = (hours: string | undefined): number | undefined => (hours === undefined ? undefined : Number(hours));

function recipeWishes(named: Words['named']): Partial<RecipeInput> {
  const [tunedSteps, teaches] = (named.fine_tune ?? '').split(',');
  return {
    ...(named.near === 'yes' ? { data: { dataset: 'digits', near_duplicates: {} } } : {}),
    ...(named.distill === 'yes' ? { training: { distill: {} } } : {}),
    ...(named.fine_tune === undefined ? {} : { training: { fine_tune: { steps: Number(tunedSteps), teaches: teaches === 'teaches' } } }),
    rounds: Number(named.rounds ?? 1),
    models: { ...(named.teacher === undefined ? {} : { teacher: { url: named.teacher } }), ladder: (named.ladder ?? '16').split(',').map((width) => ({ model: 'cnn', width: Number(width) }) as unknown as ModelChoice) },
    labels: {
      balance: named.balance === 'none' ? 'none' : 'classes', budget_per_class: Number(named.budget_per_class ?? 0),
      ...(named.threshold === undefined ? {} : { threshold: Number(named.threshold) }), ...(named.precision === undefined ? {} : { precision: Number(named.precision) }),
    },
    guards: { class_share_least: Number(named.class_share_least ?? 0.1), class_share_most: Number(named.class_share_most ?? 0.75), calibration_error_most: Number(named.calibration_most ?? 0.5) },
    promotion: {
      require: named.require === 'better' ? 'better' : 'not-worse',
      alpha: Number(named.alpha ?? 0.05),
      on_refusal: (named.on_refusal ?? 'keep-teacher') as 'keep-teacher' | 'retry' | 'stop' | 'wait',
      tries_max: Number(named.tries_max ?? 2),
    },
    tolerance: { quarantined_share: Number(named.share ?? 0.05), attempts: Number(named.attempts ?? 3), class_coverage: Number(named.coverage ?? 0.1) },
    budget: { device_hours: Number(named.device_hours ?? 0), wall_hours: Number(named.wall_hours ?? 0) },
    control: named.control === 'yes',
    ...(named.comparisons === undefined ? {} : { comparisons: named.comparisons.split(',').map((each) => ({ name: each.split(':')[0] ?? '', model: { model: 'cnn', width: Number(each.split(':')[1]) } as unknown as ModelChoice })) }),
    ...(named.compress === undefined ? {} : { compress: { accuracy_kept: Number(named.compress) } }),
    ...(named.replicas === undefined ? {} : {
      training: {
        replicas: named.replicas === 'auto' ? 'auto' : Number(named.replicas), teacher: { steps: Number(named.steps ?? 250) }, student: { steps: Number(named.steps ?? 250) },
        sharing: { local_steps: Number(named.local_steps ?? 100), quorum: Number(named.quorum ?? 0.75), straggler_wait: Number(named.straggler_wait ?? 0.5) },
      },
    }),
  };
}

function binOf(text: string): ConfidenceBin {
  const [confidence, correct, total] = text.split(/[:/]/).map(Number);
  if (confidence === undefined || correct === undefined || total === undefined) throw new Error(`"${text}" is no CONFIDENCE:RIGHT/ALL`);
  return { confidence, correct, total };
}

function answerWishes(named: Words['named']): AnswerWishes {
  const [, better, worse] = /^\+(\d+)\/-(\d+)$/.exec(named.student ?? '') ?? [];
  return {
    ...(named.params === undefined ? {} : { parameters: Number(named.params) }),
    ...(named.right === undefined ? {} : { validationRight: Number(named.right) }),
    ...(named.test_right === undefined ? {} : { testRight: Number(named.test_right) }),
    ...(named.bytes === undefined ? {} : { bytes: Number(named.bytes) }),
    ...(named.empty === undefined ? {} : { emptyClasses: named.empty.split(',').map(Number) }),
    ...(named.eligible === undefined ? {} : { eligible: named.eligible.split(',').map(Number) }),
    ...(named.truth === undefined ? {} : { truth: named.truth.split(',').map(Number) }),
    ...(named.error === undefined ? {} : { calibrationError: Number(named.error) }),
    ...(named.bins === undefined ? {} : { confidence: named.bins.split(',').map(binOf) }),
    ...(named.near === undefined ? {} : { near: Number(named.near) }),
    ...(named.device === undefined ? {} : { deviceMs: hoursMs(named.device) }),
    ...(better === undefined || worse === undefined ? {} : { studentOnlyRight: Number(better), teacherOnlyRight: Number(worse) }),
  };
}
