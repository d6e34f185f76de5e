/** What tests of the page begin with: its server over real HTTP, on a leader of a scene, with callers that a test names. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAccess, type Access, type Role } from '../../../../coordinator/access.ts';
import type { Leader } from '../../../../coordinator/leader.ts';
import type { Leading } from '../../../../coordinator/node.ts';
import { servePage, type PageServer } from '../../../../coordinator/page/index.ts';
import { AlumnusError } from '../../../../proto/errors.ts';
import type { Patch } from '../../../../proto/page.ts';
import { MemoryDisk } from '../memory-journal.ts';

export const STORE_URL = 'file:///store';

/** Tokens by name; each with its roles by project. */
export const accessOf = (callers: Readonly<Record<string, Readonly<Record<string, Role>>>>): Access => ({
  callerOf: (token) => {
    const roles = token === undefined ? undefined : callers[token];
    return roles === undefined ? undefined : { name: token ?? '', roleIn: (project) => roles[project], isAnyone: Object.keys(roles).length > 0 };
  },
  quotaOf: openAccess.quotaOf, webhooksOf: openAccess.webhooksOf, projects: undefined,
});

export class Served {
  readonly server: PageServer;
  constructor(server: PageServer) {
    this.server = server;
  }

  /** @param leader undefined: it stands by */
  static async start(leader: Leader | undefined, { access = openAccess, folder = page() }: { access?: Access; folder?: string } = {}): Promise<Served> {
    const journal = leader?.journal ?? new MemoryDisk().open();
    const leading: Leading = {
      leader: () => {
        if (leader === undefined) throw new AlumnusError('NOT_LEADER', 'this coordinator stands by', { where: 'elsewhere:7700' });
        if (leader.failure !== undefined) throw leader.failure;
        return leader;
      },
      leaderAddress: '', trouble: '', journal,
    };
    return new Served(await servePage({ leading, storeUrl: STORE_URL, version: '0', access, listen: '127.0.0.1:0', folder }));
  }

  fetch(path: string, { token, ...init }: RequestInit & { token?: string } = {}): Promise<Response> {
    return fetch(new URL(path, this.server.url), { ...init, headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...(init.headers as Record<string, string> | undefined) } });
  }

  async json(path: string, token?: string): Promise<{ status: number; body: any }> { // eslint-disable-line @typescript-eslint/no-explicit-any -- tests look into what JSON gives back
    const response = await this.fetch(`api/v1/${path}`, token === undefined ? {} : { token });
    return { status: response.status, body: await response.json() };
  }

  post(path: string, { token, body = {}, headers = {} }: { token?: string; body?: unknown; headers?: Record<string, string> } = {}): Promise<Response> {
    return this.fetch(`api/v1/${path}`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers }, ...(token === undefined ? {} : { token }) });
  }
}

/** A built page of one file. */
export function page(): string {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-page-'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>Alumnus</title>');
  return folder;
}

/** Reads a stream, and holds its documents as a page does. */
export class Reader {
  readonly documents = new Map<string, Map<string, unknown>>();
  readonly seen: { readonly name: string; readonly data: unknown }[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(served: Served, path: string, token?: string) {
    this.#done = this.#read(served, path, token);
    this.#done.catch(() => undefined);
  }

  async #read(served: Served, path: string, token: string | undefined): Promise<void> {
    const response = await served.fetch(`api/v1/${path}`, { signal: this.#abort.signal, ...(token === undefined ? {} : { token }) });
    if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
    let rest = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const [, name = '', json = ''] = /^event: (.*)\ndata: (.*)$/s.exec(block) ?? [];
        const data: unknown = JSON.parse(json);
        this.seen.push({ name, data });
        if (name === 'beat' || name === 'failed') continue;
        const { whole, set, gone } = data as Patch;
        const fields = whole === true ? new Map<string, unknown>() : this.documents.get(name) ?? new Map<string, unknown>();
        for (const [key, value] of Object.entries(set)) fields.set(key, value);
        for (const key of gone) fields.delete(key);
        this.documents.set(name, fields);
      }
    }
  }

  /** @throws after `withinMs` */
  async until(what: string, holds: (reader: Reader) => boolean, withinMs = 10_000): Promise<void> {
    const untilMs = Date.now() + withinMs;
    while (!holds(this)) {
      if (Date.now() > untilMs) throw new Error(`the stream does not tell ${what}: ${JSON.stringify(this.seen).slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  field(name: string, key: string): any { // eslint-disable-line @typescript-eslint/no-explicit-any -- as above
    return this.documents.get(name)?.get(key);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done.catch(() => undefined);
  }
}
