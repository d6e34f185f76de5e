/** Journals on servers of their own: a place is a name, and each opening has its own connection, as another process would. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openJetStream, type JetStreamOptions } from '../../../coordinator/journal/index.ts';
import { connectNats, type Nats } from '../../../coordinator/nats.ts';
import { Nats as Servers } from '../../harness/servers.ts';
import { readAll, type OpenJournal } from '../../unit/coordinator/journal-conformance.ts';

export class Places {
  readonly servers: Servers;
  readonly #folder: string;
  readonly #replicas: 1 | 3;
  readonly #connections: Nats[] = [];
  #count = 0;

  private constructor(servers: Servers, folder: string, replicas: 1 | 3) {
    this.servers = servers;
    this.#folder = folder;
    this.#replicas = replicas;
  }

  static async start(replicas: 1 | 3, extra = ''): Promise<Places> {
    const folder = mkdtempSync(join(tmpdir(), 'alumnus-nats-'));
    return new Places(await Servers.start(folder, { servers: replicas, extra }), folder, replicas);
  }

  fresh(): string {
    return `place-${(this.#count += 1)}`;
  }

  url(place: string, address?: string): string {
    return `nats://${address ?? this.servers.urls.map((url) => url.replace('nats://', '')).join(',')}/${place}?replicas=${this.#replicas}`;
  }

  /** @param address where it connects to, such as a proxy */
  async connect(place: string, address?: string): Promise<Nats> {
    const nats = await connectNats(this.url(place, address), { env: {} });
    this.#connections.push(nats);
    return nats;
  }

  /** Opens, reads to the end, and begins a term. */
  async lead(place: string, after = 0, options: JetStreamOptions & { address?: string } = {}): Promise<OpenJournal> {
    const journal = await openJetStream(await this.connect(place, options.address), options);
    await readAll(journal, after);
    return { journal, term: await journal.begin() };
  }

  /** Of the only server: everything that it keeps. */
  get folderOfStreams(): string {
    return join(this.#folder, 'nats-0', 'store');
  }

  /** Where the only server keeps the messages of a place's journal; one file, while they are few. */
  fileOf(place: string): string {
    const messages = join(this.#folder, 'nats-0', 'store', 'jetstream', '$G', 'streams', `${place}-journal`, 'msgs');
    const [file, ...more] = readdirSync(messages).filter((name) => name.endsWith('.blk'));
    if (file === undefined || more.length > 0) throw new Error(`${messages} holds ${more.length + 1} files`);
    return join(messages, file);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#connections.map((nats) => nats.close()));
    await this.servers.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
