/**
 * Documents as they change, for streams: each is a set of fields, read once for all who watch it, and told as the fields that changed.
 *
 * Invariants:
 *  1. A document is read a few times a second at most, and takes a twentieth of the time at most, however many watch and however much changes; one that nobody watches is not read.
 *  2. Whoever is a version behind gets the change, whoever is further behind the whole: nothing waits in memory for a slow reader.
 */
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import type { StreamName } from '../../proto/page.ts';
import type { Changes } from './changes.ts';

/** A person sees no difference. */
const READ_MS_MIN = 250;
/** Progress and times change without a word. */
const READ_MS_MAX = 1_000;
const COST_FACTOR = 20;

/** A document's fields, as JSON each. */
export type Fields = ReadonlyMap<string, string>;

export interface Watched {
  readonly name: StreamName;
  /** What tells it from others of its name. */
  readonly about: string;
  /** @throws AlumnusError */
  read(): Fields;
}

export interface Watcher {
  /** Something may be new. */
  flush(): void;
  /** Nothing more comes. */
  end(error: AlumnusError): void;
}

export class Channel {
  readonly name: StreamName;
  readonly watchers = new Set<Watcher>();
  version = 0;
  #fields: Fields = new Map();
  #patch = '';
  #whole: { readonly version: number; readonly text: string } | undefined;
  readonly #read: () => Fields;
  #readMs = -Infinity;
  #costMs = 0;
  #seen = -1;

  constructor({ name, read }: Watched) {
    this.name = name;
    this.#read = read;
  }

  get fields(): Fields {
    return this.#fields;
  }

  /** It is read at the next opportunity. */
  hurry(): void {
    this.#readMs = -Infinity;
    this.#seen = -1;
  }

  isDue(nowMs: number, version: number): boolean {
    const ageMs = nowMs - this.#readMs;
    return ageMs >= Math.max(READ_MS_MIN, this.#costMs * COST_FACTOR) && (version !== this.#seen || ageMs >= READ_MS_MAX);
  }

  /** @returns whether it changed @throws AlumnusError */
  refresh(version: number): boolean {
    const startMs = performance.now();
    const before = this.#fields;
    const fields = this.#read();
    this.#fields = fields;
    this.#seen = version;
    this.#readMs = startMs;
    const set = [...fields].filter(([key, value]) => before.get(key) !== value);
    const gone = [...before.keys()].filter((key) => !fields.has(key));
    const changed = set.length > 0 || gone.length > 0 || this.version === 0;
    if (changed) {
      this.version += 1;
      this.#patch = event(this.name, `{"set":{${members(set)}},"gone":${JSON.stringify(gone)}}`);
    }
    this.#costMs = performance.now() - startMs;
    return changed;
  }

  /** What takes a reader from that version to the present one; 0: from nothing. */
  textFrom(version: number): string {
    if (version === this.version) return '';
    if (version > 0 && version === this.version - 1) return this.#patch;
    if (this.#whole?.version !== this.version) this.#whole = { version: this.version, text: event(this.name, `{"whole":true,"set":{${members(this.#fields)}},"gone":[]}`) };
    return this.#whole.text;
  }
}

/** Of a JSON object. */
export const members = (fields: Iterable<readonly [string, string]>): string => [...fields].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join();

/** JSON has no line breaks of its own. */
export const event = (name: string, json: string): string => `event: ${name}\ndata: ${json}\n\n`;

export class Hub {
  readonly #changes: Changes;
  readonly #channels = new Map<string, Channel>();
  #timer: NodeJS.Timeout | undefined;

  constructor(changes: Changes) {
    this.#changes = changes;
  }

  /** The document as it is now is there when this returns. @throws AlumnusError what reading it throws */
  watch(watched: Watched, watcher: Watcher): Channel {
    const key = `${watched.name} ${watched.about}`;
    let channel = this.#channels.get(key);
    if (channel === undefined) {
      channel = new Channel(watched);
      channel.refresh(this.#changes.version);
      this.#channels.set(key, channel);
    }
    channel.watchers.add(watcher);
    this.#timer ??= setInterval(() => this.#tick(), READ_MS_MIN);
    return channel;
  }

  leave(watcher: Watcher): void {
    for (const [key, channel] of this.#channels) {
      channel.watchers.delete(watcher);
      if (channel.watchers.size === 0) this.#channels.delete(key);
    }
    if (this.#channels.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The fields as those who watch have been told them; undefined where nobody does. */
  fields(name: StreamName, about: string): Fields | undefined {
    return this.#channels.get(`${name} ${about}`)?.fields;
  }

  /** What a command changed is told at once. */
  hurry(): void {
    for (const channel of this.#channels.values()) channel.hurry();
    if (this.#channels.size > 0) this.#tick();
  }

  close(): void {
    for (const watcher of this.#watchers()) watcher.end(new AlumnusError('NOT_LEADER', 'this coordinator stops'));
  }

  #watchers(): Set<Watcher> {
    return new Set([...this.#channels.values()].flatMap(({ watchers }) => [...watchers]));
  }

  #tick(): void {
    try {
      this.#changes.leader();
    } catch (thrown) {
      for (const watcher of this.#watchers()) watcher.end(toAlumnusError(thrown));
      return;
    }
    const nowMs = performance.now();
    const news = new Set<Watcher>();
    for (const channel of this.#channels.values()) {
      if (!channel.isDue(nowMs, this.#changes.version)) continue;
      try {
        if (channel.refresh(this.#changes.version)) for (const watcher of channel.watchers) news.add(watcher);
      } catch (thrown) {
        for (const watcher of [...channel.watchers]) watcher.end(toAlumnusError(thrown));
      }
    }
    for (const watcher of news) watcher.flush();
  }
}
