/**
 * Which of many things were seen more than once, without holding them all: names go to a file for each of some hundred
 * groups by digest, and the groups are looked at one after another. Few things stay in memory and touch no disk.
 * Invariant: what is held at once is the names of one group, or MEMORY_BYTES_MAX of them before they are written.
 */
import { mkdtemp, open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../store/index.ts';

/** Of 10^8 names of 100 bytes a group has 40 MB. */
const GROUPS = 256;
const MEMORY_BYTES_MAX = 32 * 1024 * 1024;

export interface Repeat {
  /** Where it was seen, and where it was seen first. */
  readonly at: string;
  readonly first: string;
}

export class Repeats {
  readonly #memoryBytesMax: number;
  readonly #groups: string[][] = Array.from({ length: GROUPS }, () => []);
  #bytes = 0;
  #folder: string | undefined;
  readonly #files: (FileHandle | undefined)[] = [];

  constructor(memoryBytesMax = MEMORY_BYTES_MAX) {
    this.#memoryBytesMax = memoryBytesMax;
  }

  /** @param thing what may repeat @param at where it is: a line of text */
  async add(thing: string, at: string): Promise<void> {
    const digest = sha256(thing).slice(0, 32);
    const line = `${digest} ${at}\n`;
    this.#groups[Number.parseInt(digest.slice(0, 2), 16)]?.push(line);
    this.#bytes += line.length;
    if (this.#bytes > this.#memoryBytesMax) await this.#spill();
  }

  /** In no particular order of things; what came of one thing in the order in which it came. */
  async *found(): AsyncIterable<Repeat> {
    for (const [group, lines] of this.#groups.entries()) {
      const path = this.#pathOf(group);
      const written = this.#files[group] === undefined || path === undefined ? '' : await readFile(path, 'utf8');
      const first = new Map<string, string>();
      for (const line of [...written.split('\n'), ...lines.map((each) => each.trimEnd())]) {
        if (line === '') continue;
        const [digest, at] = [line.slice(0, 32), line.slice(33)];
        const before = first.get(digest);
        if (before === undefined) first.set(digest, at);
        else yield { at, first: before };
      }
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file?.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  #pathOf(group: number): string | undefined {
    return this.#folder === undefined ? undefined : join(this.#folder, String(group));
  }

  async #spill(): Promise<void> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'alumnus-verify-'));
    for (const [group, lines] of this.#groups.entries()) {
      if (lines.length === 0) continue;
      const file = (this.#files[group] ??= await open(join(this.#folder, String(group)), 'a', 0o600));
      await file.appendFile(lines.join(''));
      lines.length = 0;
    }
    this.#bytes = 0;
  }
}
