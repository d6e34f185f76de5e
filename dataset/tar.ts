/**
 * Tar, as shards need it: entries in memory one at a time, exact offsets in errors, and the same bytes for the same
 * entries. Written here because a stream for each entry costs 200 to 400 microseconds (tar-stream, measured), a hundred
 * times what a small image itself costs to read; tests hold it against tar-stream in both directions.
 * Not for: extracting to disk. Nothing here touches a file system, so an entry's name can lead nowhere.
 * Source: POSIX.1-1988 ustar header; pax extended headers (path, size) and GNU long names are read, never written.
 */
import { AlumnusError } from '../proto/errors.ts';

const BLOCK = 512;
/** One sample of a training set; bounds what a crafted header can make us allocate. */
export const ENTRY_BYTES_MAX = 64 * 1024 * 1024;
/** Extended headers hold a path. */
const EXTENDED_BYTES_MAX = 64 * 1024;
const MODE = 0o644;

const padded = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK;

/** Bytes at random offsets: a buffer or a file. `read` returns fewer only at the end. */
export interface ByteSource {
  read(start: number, end: number): Uint8Array | Promise<Uint8Array>;
}

export interface TarEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Of the entry's header, in the archive. */
  readonly offset: number;
}

export const bufferSource = (content: Uint8Array): ByteSource => ({ read: (start, end) => content.subarray(start, end) });

const text = (block: Uint8Array, start: number, length: number): string => {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return Buffer.from(field.buffer, field.byteOffset, end === -1 ? length : end).toString('utf8');
};

/** Octal, or base 256 where the first bit is set (GNU). NaN where it is neither. */
function integer(block: Uint8Array, start: number, length: number): number {
  const first = block[start] ?? 0;
  if ((first & 0x80) !== 0) {
    let value = first & 0x7f;
    for (let at = start + 1; at < start + length; at += 1) value = value * 256 + (block[at] ?? 0);
    return value;
  }
  const digits = text(block, start, length).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : digits === '' ? 0 : Number.NaN;
}

function checksum(block: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at += 1) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  return sum;
}

/** `<length> <keyword>=<value>\n`, repeated. */
function paxFields(content: Uint8Array): Map<string, string> {
  const fields = new Map<string, string>();
  for (let at = 0; at < content.byteLength;) {
    const space = content.indexOf(0x20, at);
    const length = space === -1 ? Number.NaN : Number.parseInt(Buffer.from(content.subarray(at, space)).toString('latin1'), 10);
    if (!(length > 0)) break;
    const [, keyword = '', value = ''] = /^([^=]*)=(.*)\n$/s.exec(Buffer.from(content.subarray(space + 1, at + length)).toString('utf8')) ?? [];
    fields.set(keyword, value);
    at += length;
  }
  return fields;
}

/**
 * The files of an archive, in its order. Folders are passed over.
 * @throws AlumnusError SHARD_CORRUPT with the offset: cut off, damaged header, no end mark, an entry that is no file or too large.
 */
export async function* readTar(source: ByteSource, where: string): AsyncIterable<TarEntry> {
  const corrupt = (reason: string, offset: number): AlumnusError => new AlumnusError('SHARD_CORRUPT', `the tar ${reason} at byte ${offset}`, { where });
  let longName: string | undefined;
  let longSize: number | undefined;
  for (let offset = 0; ;) {
    const block = await source.read(offset, offset + BLOCK);
    if (block.byteLength < BLOCK) throw corrupt(block.byteLength === 0 ? 'ends without its end mark' : 'is cut off within an entry\'s header', offset + block.byteLength);
    if (block.every((byte) => byte === 0)) return;
    if (checksum(block) !== integer(block, 148, 8)) throw corrupt('has a damaged entry header', offset);
    const type = String.fromCharCode(block[156] ?? 0).replace('\0', '0');
    const size = type !== 'x' && type !== 'g' && type !== 'L' ? (longSize ?? integer(block, 124, 12)) : integer(block, 124, 12);
    const prefix = text(block, 257, 6) === 'ustar' ? text(block, 345, 155) : '';
    const name = longName ?? (prefix === '' ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
    const limit = type === '0' ? ENTRY_BYTES_MAX : EXTENDED_BYTES_MAX;
    if (!(size >= 0) || size > limit) throw corrupt(`says that entry ${JSON.stringify(name)} has ${size} bytes, more than ${limit},`, offset);
    const start = offset + BLOCK;
    // With its padding, so that an archive which ends within it is known as cut off.
    const stored = size === 0 ? new Uint8Array(0) : await source.read(start, start + padded(size));
    if (stored.byteLength < padded(size)) throw corrupt(`is cut off within entry ${JSON.stringify(name)}`, start + stored.byteLength);
    const content = stored.subarray(0, size);
    const at = offset;
    offset = start + padded(size);
    if (type === 'x') {
      const fields = paxFields(content);
      longName = fields.get('path') ?? longName;
      const stated = fields.get('size');
      longSize = stated === undefined ? longSize : Number(stated);
      continue;
    }
    if (type === 'L') {
      longName = text(content, 0, content.byteLength);
      continue;
    }
    longName = undefined;
    longSize = undefined;
    if (type === '0' || type === '7') yield { name, bytes: content, offset: at };
    else if (type !== '5' && type !== 'g') throw corrupt(`holds ${JSON.stringify(name)}, which is not a file,`, at);
  }
}

/** The same entries in the same order give the same bytes: no times, no owners. */
export function writeTar(entries: readonly { readonly name: string; readonly bytes: Uint8Array }[]): Uint8Array {
  const total = entries.reduce((sum, entry) => sum + BLOCK + padded(entry.bytes.byteLength), 2 * BLOCK);
  const archive = Buffer.alloc(total);
  let at = 0;
  for (const { name, bytes } of entries) {
    if (Buffer.byteLength(name) > 100 || bytes.byteLength > ENTRY_BYTES_MAX) throw new Error(`invariant broken: entry ${JSON.stringify(name)} of ${bytes.byteLength} bytes fits a shard`);
    const block = archive.subarray(at, at + BLOCK);
    const octal = (value: number, start: number, length: number): void => { block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, start, 'latin1'); };
    block.write(name, 0, 'utf8');
    octal(MODE, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(bytes.byteLength, 124, 12);
    octal(0, 136, 12);
    block.write('0', 156, 'latin1');
    block.write('ustar\x0000', 257, 'latin1');
    block.write(`${checksum(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    archive.set(bytes, at + BLOCK);
    at += BLOCK + padded(bytes.byteLength);
  }
  return archive;
}
