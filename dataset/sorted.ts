/**
 * Values in the order of a text, however many: an external merge sort. What memory should not hold goes to a temporary file,
 * run after sorted run, and is merged as it is read. Few values stay in memory and touch no disk.
 * Invariants:
 *  1. Of equal texts the value that came first comes first.
 *  2. Memory holds `heldBytesMax` of values that are not yet written, or RUN_READ_BYTES of each run that is merged.
 *  3. The file has lost its name before the first byte, so a crash leaves nothing.
 */
import type { FileHandle } from 'node:fs/promises';
import { invariant } from '../proto/errors.ts';
import { openScratch } from './scratch.ts';

const HELD_BYTES_MAX = 8 * 1024 * 1024;
/** A string's and an array's own memory, about. */
const ENTRY_BYTES = 64;
/** Of 10^8 values of 200 bytes there are some 2,500 runs. */
const RUN_READ_BYTES = 64 * 1024;

/** A line of a run: the text, a tab, the value as JSON. */
type Line = string;

interface Run {
  readonly start: number;
  readonly bytes: number;
}

const orderOf = (line: Line): string => line.slice(0, line.indexOf('\t'));

export class Sorted<Value> implements AsyncIterable<Value> {
  readonly #heldBytesMax: number;
  #held: Line[] = [];
  #heldBytes = 0;
  readonly #runs: Run[] = [];
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #size = 0;

  constructor(heldBytesMax = HELD_BYTES_MAX) {
    this.#heldBytesMax = heldBytesMax;
  }

  get size(): number {
    return this.#size;
  }

  /** @param order without control characters; compared by UTF-16 code units, as strings are. @param value what JSON can hold */
  async add(order: string, value: Value): Promise<void> {
    const line = `${order}\t${JSON.stringify(value)}`;
    this.#held.push(line);
    this.#heldBytes += line.length + ENTRY_BYTES;
    this.#size += 1;
    if (this.#heldBytes > this.#heldBytesMax) await this.#spill();
  }

  /** In order, as often as it is asked for; nothing is added meanwhile. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Value> {
    for await (const line of this.#lines()) yield JSON.parse(line.slice(line.indexOf('\t') + 1)) as Value;
  }

  async close(): Promise<void> {
    this.#held = [];
    await this.#file?.close();
    this.#file = undefined;
  }

  #sortHeld(): void {
    // A stable sort, by the text alone.
    const keyed = this.#held.map((line) => ({ line, order: orderOf(line) })).sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
    this.#held = keyed.map(({ line }) => line);
  }

  async #spill(): Promise<void> {
    this.#sortHeld();
    const content = Buffer.from(`${this.#held.join('\n')}\n`);
    this.#file ??= await openScratch();
    await writeWhole(this.#file, content, this.#fileBytes);
    this.#runs.push({ start: this.#fileBytes, bytes: content.byteLength });
    this.#fileBytes += content.byteLength;
    this.#held = [];
    this.#heldBytes = 0;
  }

  async *#lines(): AsyncGenerator<Line> {
    this.#sortHeld();
    if (this.#runs.length === 0) {
      yield* this.#held;
      return;
    }
    // Held values came last, so of equal texts they come last.
    const heads: Head[] = [];
    const sources: (AsyncIterator<Line> | Iterator<Line>)[] = [...this.#runs.map((run) => this.#run(run)), this.#held.values()];
    for (const [at, source] of sources.entries()) {
      const next = await source.next();
      if (next.done !== true) push(heads, { order: orderOf(next.value), line: next.value, at });
    }
    while (heads[0] !== undefined) {
      const { line, at } = heads[0];
      yield line;
      const next = await sources[at]?.next();
      if (next === undefined || next.done === true) pop(heads);
      else replace(heads, { order: orderOf(next.value), line: next.value, at });
    }
  }

  async *#run({ start, bytes }: Run): AsyncGenerator<Line> {
    let rest = Buffer.alloc(0);
    for (let at = start; at < start + bytes;) {
      const piece = await this.#read(at, Math.min(RUN_READ_BYTES, start + bytes - at));
      at += piece.byteLength;
      rest = Buffer.concat([rest, piece]);
      // Cut at a line's end: a character of several bytes may be cut anywhere else.
      const end = rest.lastIndexOf(0x0a);
      if (end < 0) continue;
      yield* rest.toString('utf8', 0, end).split('\n');
      rest = rest.subarray(end + 1);
    }
  }

  async #read(at: number, length: number): Promise<Buffer> {
    invariant(this.#file !== undefined, 'a run lies in a file');
    const piece = Buffer.alloc(length);
    const { bytesRead } = await this.#file.read(piece, 0, length, at);
    invariant(bytesRead > 0, 'the file holds what was written');
    return piece.subarray(0, bytesRead);
  }
}

async function writeWhole(file: FileHandle, content: Uint8Array, offset: number): Promise<void> {
  for (let at = 0; at < content.byteLength;) at += (await file.write(content, at, content.byteLength - at, offset + at)).bytesWritten;
}

/** The next line of a run, in a binary heap. */
interface Head {
  readonly order: string;
  readonly line: Line;
  readonly at: number;
}

const isBefore = (a: Head, b: Head): boolean => a.order < b.order || (a.order === b.order && a.at < b.at);

function push(heap: Head[], head: Head): void {
  heap.push(head);
  for (let at = heap.length - 1; at > 0;) {
    const above = (at - 1) >> 1;
    const [child, parent] = [heap[at], heap[above]];
    if (child === undefined || parent === undefined || !isBefore(child, parent)) return;
    [heap[at], heap[above]] = [parent, child];
    at = above;
  }
}

/** The least makes room for `head`. */
function replace(heap: Head[], head: Head): void {
  heap[0] = head;
  for (let at = 0; ;) {
    let least = at;
    for (const below of [2 * at + 1, 2 * at + 2]) {
      const [child, best] = [heap[below], heap[least]];
      if (child !== undefined && best !== undefined && isBefore(child, best)) least = below;
    }
    const [one, other] = [heap[at], heap[least]];
    if (least === at || one === undefined || other === undefined) return;
    [heap[at], heap[least]] = [other, one];
    at = least;
  }
}

function pop(heap: Head[]): void {
  const last = heap.pop();
  if (last !== undefined && heap.length > 0) replace(heap, last);
}
