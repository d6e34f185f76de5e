/**
 * The page's server: the built page, and beside it `/api/v1` (docs/dashboard.md): documents as the CLI's `-o json`, a stream of what changes, and commands for operators.
 * Not for: how documents look (documents.ts), nor for what commands do (the leader).
 *
 * Invariants:
 *  1. Nothing of a run is told to, and no command taken from, a caller without the role for it in the run's project; what belongs to no project needs a role in FLEET.
 *  2. Neither a slow reader nor many of them, nor a large fleet, makes it hold more than its bounds, or takes more than a share of the coordinator's time.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import type { AddressInfo } from 'node:net';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import { API_VERSION, pageDocument, pageForm } from '../../proto/machine.ts';
import type { CallerAnswer, CurvesAnswer, EventsAnswer, ExplainAnswer, RoleName, RunCommand, TaskAnswer } from '../../proto/page.ts';
import { FLEET, PROJECT_DEFAULT, type Access, type Caller } from '../access.ts';
import { statusView, taskViewOf } from '../api/index.ts';
import type { Leader } from '../leader.ts';
import type { Leading } from '../node.ts';
import type { Command, RunState } from '../run/index.ts';
import { Changes } from './changes.ts';
import { Curves } from './curves.ts';
import { fieldsOf, fleetFields, projectOf, runDocument, runFields, runsAnswer, runsFields, shardAnswer, shardFields, shardsDocument } from './documents.ts';
import { Answers, Encoded } from './encoded.ts';
import { eventsAfter, newestEvents } from '../events.ts';
import { explainTask } from '../explain.ts';
import { answer, bearerOf, errorAnswer, headersOf, isOwnName, isSameOrigin, JSON_TYPE, readJson, refuse } from './http.ts';
import { Hub, type Watched } from './hub.ts';
import { LabelAnswers } from './labels.ts';
import { rosterOf, rowOf, workersAnswer, type Roster } from './roster.ts';
import { readStatic, type StaticFile } from './static.ts';
import { Stream } from './stream.ts';

const API = '/api/v1/';
/** Pages that are open at a time. Each holds a connection, and what its reader has not taken of one piece of its documents. */
const STREAMS_MAX = 1_000;
const CURVES_MS = 1_000;
/** Of one answer, where nobody says how many. */
const WORKERS_TOLD = 500;
const WORKERS_TOLD_MAX = 100_000;
const EVENTS_MAX = 1_000;
const REASON_CHARS_MAX = 1_000;

export interface PageOptions {
  readonly leading: Leading;
  readonly storeUrl: string;
  readonly version: string;
  readonly access: Access;
  /** `host:port`; port 0 takes any that is free. */
  readonly listen: string;
  /** Other names that this machine is asked by. */
  readonly names?: readonly string[];
  /** Where the built page lies. */
  readonly folder: string;
}

export interface PageServer {
  /** `http://host:port/`. */
  readonly url: string;
  close(): Promise<void>;
}

/** @throws AlumnusError PORT_IN_USE, USAGE naming the address */
export async function servePage(options: PageOptions): Promise<PageServer> {
  const page = new Page(options);
  const server = createServer((request, response) => {
    page.handle(request, response).catch((thrown: unknown) => {
      const error = toAlumnusError(thrown);
      if (error.code === 'INTERNAL') process.stderr.write(`${error.stack ?? error.message}\n`);
      refuse(response, error);
    });
  });
  const { listen } = options;
  const at = listen.lastIndexOf(':');
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown: NodeJS.ErrnoException) => reject(thrown.code === 'EADDRINUSE' ? new AlumnusError('PORT_IN_USE', 'another program listens where the page was to be served', { where: `--page ${listen}`, cause: thrown }) : new AlumnusError('USAGE', `cannot listen: ${thrown.message}`, { where: `--page ${listen}`, cause: thrown })));
    server.listen({ host: listen.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(at + 1)) }, resolve);
  });
  return {
    url: `http://${listen.slice(0, at)}:${(server.address() as AddressInfo).port}/`,
    close: () => {
      page.close();
      return new Promise((resolve) => {
        server.close(() => resolve());
        // What was said last is still to be sent.
        setImmediate(() => server.closeAllConnections());
      });
    },
  };
}

/** A question by its path: `:run` and the like stand for one piece of it. */
type Handler = (asked: Asked) => Promise<void> | void;

interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly caller: Caller;
  readonly token: string | undefined;
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
}

class Page {
  readonly #options: PageOptions;
  readonly #changes: Changes;
  readonly #hub: Hub;
  readonly #answers = new Answers();
  readonly #curves = new Curves();
  readonly #labels: LabelAnswers;
  readonly #files: ReadonlyMap<string, StaticFile>;
  readonly #names: ReadonlySet<string>;
  readonly #looking: NodeJS.Timeout;
  #roster: { readonly roster: Roster; readonly leader: Leader; readonly version: number; readonly madeMs: number; readonly costMs: number } | undefined;
  #streams = 0;

  constructor(options: PageOptions) {
    this.#options = options;
    this.#changes = new Changes(options.leading);
    this.#hub = new Hub(this.#changes);
    this.#labels = new LabelAnswers(options.storeUrl);
    this.#files = readStatic(options.folder);
    this.#names = new Set([hostname(), ...options.names ?? []].map((name) => name.toLowerCase()));
    this.#looking = setInterval(() => this.#look(), CURVES_MS);
  }

  close(): void {
    clearInterval(this.#looking);
    this.#hub.close();
    this.#changes.close();
    this.#labels.close();
  }

  #look(): void {
    try {
      this.#curves.look(this.#changes.leader());
    } catch (thrown) {
      if (toAlumnusError(thrown).code !== 'NOT_LEADER') throw thrown;
    }
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = addressOf(request);
    const { method } = request;
    if (!pathname.startsWith(API)) return this.#file(request, response, pathname);
    const token = bearerOf(request);
    const caller = this.#options.access.callerOf(token);
    if (caller === undefined) throw new AlumnusError('ACCESS_UNAUTHENTICATED', token === undefined ? 'a token is needed' : 'the token is nobody\'s');
    if (token === undefined && !isOwnName(request, this.#names)) throw new AlumnusError('ACCESS_REFUSED', `nobody needs a token here, so the page answers to addresses and to this machine's own names alone, and ${JSON.stringify(request.headers.host ?? '')} is none`);
    const parts = pathname.slice(API.length).split('/').map(decoded);
    const handler = method === 'GET' || method === 'HEAD' ? this.#reading(parts) : method === 'POST' ? this.#steering(parts) : undefined;
    if (handler === undefined) throw new AlumnusError('USAGE', `there is no ${method ?? ''} ${pathname}`, { where: pathname });
    await handler({ request, response, caller, token, parts, query });
  }

  async #file(request: IncomingMessage, response: ServerResponse, pathname: string): Promise<void> {
    const file = this.#files.get(pathname);
    if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405, headersOf({ allow: 'GET, HEAD' })).end();
    if (file === undefined) {
      const text = this.#files.size === 0 ? 'The page is not built: npm run build.\n' : 'There is no such page.\n';
      return void response.writeHead(404, headersOf({ 'content-type': 'text/plain; charset=utf-8' })).end(text);
    }
    await answer(request, response, file.encoded, { 'content-type': file.type, 'cache-control': file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache' });
  }

  #reading([first, runId, ...rest]: readonly string[]): Handler | undefined {
    const path = [first, ...(runId === undefined ? [] : [':id']), ...rest].join('/');
    switch (path) {
      case 'status': return (asked) => this.#json(asked, 'status', () => pageDocument('Status', this.#status()));
      case 'whoami': return (asked) => this.#fresh(asked, this.#whoami(asked.caller));
      case 'runs': return (asked) => {
        const runs = this.#readable(asked.caller);
        return this.#json(asked, `runs ${visibility(runs)}`, () => runsAnswer(this.#changes.leader(), runs));
      };
      case 'stream': return (asked) => this.#stream(asked);
      case 'workers': return (asked) => this.#workers(asked);
      case 'workers/:id': return (asked) => this.#worker(asked);
      case 'runs/:id': return (asked) => {
        const run = this.#run(asked);
        const all = asked.query.get('tasks') === 'all';
        return this.#json(asked, `run ${run.runId}${all ? ' all' : ''}`, () => this.#runDocument(run, all));
      };
      case 'runs/:id/shards': return (asked) => {
        const run = this.#run(asked);
        const iteration = numberIn(asked.query, 'iteration', run.iteration);
        return this.#json(asked, `shards ${run.runId} ${iteration}`, () => {
          const told = iteration === run.iteration ? this.#hub.fields('shards', run.runId) : undefined;
          return shardsDocument(run.runId, told ?? shardFields(this.#changes.leader(), run, iteration));
        });
      };
      case 'runs/:id/curves': return (asked) => {
        const { runId: id } = this.#run(asked);
        const document: CurvesAnswer = { apiVersion: API_VERSION, kind: 'CurveList', curves: this.#curves.of(id) };
        return this.#fresh(asked, document);
      };
      case 'runs/:id/events': return async (asked) => {
        const run = this.#run(asked);
        const leader = this.#changes.leader();
        const after = numberIn(asked.query, 'after', 0);
        const events = await (after === 0 ? newestEvents(leader, run, EVENTS_MAX) : eventsAfter(leader, run, after, EVENTS_MAX));
        const document: EventsAnswer = { apiVersion: API_VERSION, kind: 'EventList', events };
        return this.#fresh(asked, document);
      };
    }
    const [what, name, question] = rest;
    if (first === 'runs' && what === 'shards' && name !== undefined && question === undefined) return (asked) => this.#fresh(asked, shardAnswer(this.#changes.leader(), this.#run(asked), name));
    if (first === 'runs' && what === 'tasks' && name !== undefined && question === 'explain') return (asked) => {
      const leader = this.#changes.leader();
      const run = this.#run(asked);
      const told = explainTask(leader, run.runId, name);
      const view = taskViewOf(leader, run, name);
      const document: ExplainAnswer = { apiVersion: API_VERSION, kind: 'TaskExplanation', taskId: told.taskId, state: told.state, reasons: told.reasons, ...(view === undefined ? {} : { view: pageForm(view) as TaskAnswer }) };
      return this.#fresh(asked, document);
    };
    if (first === 'runs' && what === 'iterations' && name !== undefined && (question === 'histogram' || question === 'gallery')) {
      return async (asked) => {
        const encoded = await this.#labels.ask(this.#run(asked), wholeNumber(name, 'iteration'), question);
        await answer(asked.request, asked.response, encoded, { 'content-type': JSON_TYPE, 'cache-control': 'no-cache' });
      };
    }
    return undefined;
  }

  #steering([first, , command, ...rest]: readonly string[]): Handler | undefined {
    if (first !== 'runs' || rest.length > 0 || !isRunCommand(command)) return undefined;
    return async (asked) => {
      const { request } = asked;
      if (!isSameOrigin(request) || !/^application\/json\b/.test(request.headers['content-type'] ?? '')) throw new AlumnusError('ACCESS_REFUSED', 'a command comes from this page, or as application/json from a program that is no page');
      const run = this.#run(asked, 'operator');
      const { reason = '', iteration } = await readJson(request);
      if (iteration !== undefined && !(typeof iteration === 'number' && Number.isInteger(iteration) && iteration >= 0)) throw new AlumnusError('USAGE', 'an iteration is a whole number from 0 on', { where: 'iteration' });
      if (typeof reason !== 'string' || reason.length > REASON_CHARS_MAX) throw new AlumnusError('USAGE', `a reason is text of ${REASON_CHARS_MAX} characters at most`, { where: 'reason' });
      const leader = this.#changes.leader();
      await leader.command(run.runId, commandOf(leader, run, { command, reason, iteration, by: asked.caller.name }));
      this.#answers.forget();
      this.#hub.hurry();
      await this.#json(asked, `run ${run.runId}`, () => this.#runDocument(leader.run(run.runId), false));
    };
  }

  /** What pages that are open have been told of it is not made again. */
  #runDocument(run: RunState, all: boolean): string {
    const leader = this.#changes.leader();
    return runDocument((all ? undefined : this.#hub.fields('run', run.runId)) ?? runFields(leader, run, this.#options.storeUrl, all), leader.now());
  }

  #status() {
    const { leading, storeUrl, version } = this.#options;
    return statusView(leading, storeUrl, version);
  }

  #whoami(caller: Caller): CallerAnswer {
    const projects = new Set([FLEET, PROJECT_DEFAULT, ...this.#changes.leader().runs().map(projectOf)]);
    const roles = Object.fromEntries([...projects].flatMap((project): [string, RoleName][] => {
      const role = caller.roleIn(project);
      return role === undefined ? [] : [[project, role]];
    }));
    return { apiVersion: API_VERSION, kind: 'Caller', name: caller.name, roles };
  }

  #readable(caller: Caller): RunState[] {
    return this.#changes.leader().runs().filter((run) => caller.roleIn(projectOf(run)) !== undefined);
  }

  /** The run that is asked about. @throws AlumnusError RUN_NOT_FOUND, ACCESS_REFUSED */
  #run({ caller, parts: [, runId = ''] }: Pick<Asked, 'caller' | 'parts'>, needs: RoleName = 'viewer'): RunState {
    const run = this.#changes.leader().run(runId);
    const project = projectOf(run);
    demand(caller, project, needs, `project ${project}`);
    return run;
  }

  #json({ request, response }: Asked, question: string, make: () => object | string): Promise<void> {
    // Who leads is a part of every answer.
    if (question !== 'status') this.#changes.leader();
    return answer(request, response, this.#answers.get(question, this.#changes.version, make), { 'content-type': JSON_TYPE, 'cache-control': 'no-cache' });
  }

  #fresh({ request, response }: Asked, document: object): Promise<void> {
    return answer(request, response, new Encoded(JSON.stringify(document)), { 'content-type': JSON_TYPE, 'cache-control': 'no-cache' });
  }

  #rosterNow(): Roster {
    const leader = this.#changes.leader();
    const startMs = performance.now();
    const before = this.#roster;
    if (before?.leader === leader && (startMs - before.madeMs < before.costMs * 10 || (before.version === this.#changes.version && startMs - before.madeMs < 1_000))) return before.roster;
    const roster = rosterOf(leader);
    const madeMs = performance.now();
    this.#roster = { roster, leader, version: this.#changes.version, madeMs, costMs: madeMs - startMs };
    return roster;
  }

  #workers(asked: Asked): Promise<void> {
    demand(asked.caller, FLEET, 'viewer', 'workers');
    const { query } = asked;
    const question = { from: numberIn(query, 'from', 0), count: Math.min(numberIn(query, 'count', WORKERS_TOLD), WORKERS_TOLD_MAX), state: query.get('state') ?? '', search: query.get('search') ?? '' };
    return this.#json(asked, `workers ${JSON.stringify(question)}`, () => workersAnswer(this.#changes.leader(), this.#rosterNow(), question));
  }

  #worker(asked: Asked): Promise<void> {
    demand(asked.caller, FLEET, 'viewer', 'workers');
    const { parts: [, workerId = ''] } = asked;
    const seen = this.#rosterNow().seen.find(({ worker }) => worker.workerId === workerId);
    if (seen === undefined) throw new AlumnusError('USAGE', 'this coordinator knows no such worker', { where: workerId });
    return this.#fresh(asked, pageDocument('Worker', rowOf(this.#changes.leader(), seen)));
  }

  #stream(asked: Asked): void {
    const { request, response, caller, token, query } = asked;
    if (this.#streams >= STREAMS_MAX) throw new AlumnusError('PAGE_BUSY', `${STREAMS_MAX} pages are open already`);
    const runId = query.get('run');
    const leader = (): Leader => this.#changes.leader();
    // Who does not lead has nothing to tell.
    leader();
    const watched: Watched[] = [
      { name: 'status', about: '', read: () => fieldsOf(this.#statusFields()) },
      { name: 'runs', about: token ?? '', read: () => runsFields(leader(), this.#readable(caller)) },
    ];
    if (caller.roleIn(FLEET) !== undefined) watched.push({ name: 'fleet', about: '', read: () => fleetFields(this.#rosterNow().counts) });
    if (runId !== null) {
      this.#run({ caller, parts: ['runs', runId] });
      const { storeUrl } = this.#options;
      watched.push(
        { name: 'run', about: runId, read: () => runFields(leader(), leader().run(runId), storeUrl) },
        { name: 'shards', about: runId, read: () => shardFields(leader(), leader().run(runId)) },
        { name: 'curves', about: runId, read: () => new Map(this.#curves.of(runId).map((curve) => [`${curve.iteration}/${curve.training}/${curve.replica}`, JSON.stringify(curve)])) },
      );
    }
    this.#streams += 1;
    const stream = new Stream({
      response,
      check: () => this.#objection(token, runId),
      errorJson: (error) => JSON.stringify(errorAnswer(error)),
      onEnd: () => {
        this.#streams -= 1;
        this.#hub.leave(stream);
      },
    });
    response.writeHead(200, headersOf({ 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }));
    request.socket.setNoDelay(true);
    try {
      for (const each of watched) stream.follow(this.#hub.watch(each, stream));
    } catch (thrown) {
      stream.end(toAlumnusError(thrown));
      return;
    }
    stream.flush();
  }

  /** Why whoever opened a stream may read it no more. */
  #objection(token: string | undefined, runId: string | null): AlumnusError | undefined {
    const caller = this.#options.access.callerOf(token);
    if (caller === undefined) return new AlumnusError('ACCESS_UNAUTHENTICATED', 'the token is nobody\'s any more');
    try {
      if (runId !== null) this.#run({ caller, parts: ['runs', runId] });
      return undefined;
    } catch (thrown) {
      return toAlumnusError(thrown);
    }
  }

  /** Without what grows with every fact. */
  #statusFields(): object {
    const { sequence: _sequence, ...status } = this.#status();
    return status;
  }
}

const runCommands: readonly RunCommand[] = ['pause', 'resume', 'retry', 'promote', 'rollback', 'cancel', 'kill'];
const isRunCommand = (text: string | undefined): text is RunCommand => runCommands.some((known) => known === text);

interface Commanded {
  readonly command: RunCommand;
  readonly reason: string;
  readonly iteration: number | undefined;
  /** Who asks; empty where nobody was asked. */
  readonly by: string;
}

function commandOf(leader: Leader, { runId }: RunState, { command, reason, iteration, by }: Commanded): Command {
  const said = (otherwise: string): string => [by, reason === '' ? otherwise : reason].filter((text) => text !== '').join(': ');
  switch (command) {
    case 'pause': return { kind: 'pause', reason: said('paused by an operator') };
    case 'cancel': return { kind: 'cancel', reason: said('cancelled by an operator') };
    case 'kill': return { kind: 'kill', reason: said('killed by an operator') };
    case 'resume': return { kind: 'resume', inFlightMs: leader.scheduler.inFlightMs(runId, leader.now()) };
    case 'retry': return { kind: 'retry', by };
    case 'promote': return { kind: 'promote', iteration, reason: reason === '' ? 'promoted by an operator' : reason, by };
    case 'rollback': return { kind: 'rollback', iteration, reason: reason === '' ? 'gone back to by an operator' : reason, by };
  }
}

/** Callers who may read the same runs are told the same. */
const visibility = (runs: readonly RunState[]): string => [...new Set(runs.map(projectOf))].sort().join(' ');

function demand(caller: Caller, project: string, needs: RoleName, what: string): void {
  const role = caller.roleIn(project);
  if (role === undefined) throw new AlumnusError('ACCESS_REFUSED', `${caller.name || 'the caller'} has no role in ${what}`);
  if (needs === 'operator' && role !== 'operator') throw new AlumnusError('ACCESS_REFUSED', `${caller.name || 'the caller'} is a viewer in ${what}, and this takes an operator`);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (thrown) {
    throw new AlumnusError('USAGE', 'the address is not encoded as addresses are', { where: part, cause: thrown });
  }
}

function addressOf({ url = '/' }: IncomingMessage): URL {
  try {
    return new URL(url, 'http://page');
  } catch (thrown) {
    throw new AlumnusError('USAGE', 'this is no address', { where: url, cause: thrown });
  }
}

function wholeNumber(text: string, where: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new AlumnusError('USAGE', 'must be a whole number', { where });
  return Number(text);
}

const numberIn = (query: URLSearchParams, name: string, otherwise: number): number => (query.has(name) ? wholeNumber(query.get(name) ?? '', name) : otherwise);
