/**
 * A Parquet column of lists of float16, all of one length: what a label table has most of. The library writes and reads such a
 * column value by value, two allocations each, which for 1,000 classes takes longer than predicting them; here a page's values are one
 * array. The file is the same plain Parquet for any reader, and what we read need not be written by us: `readFloat16Lists` answers
 * undefined for any other layout, which the library then reads.
 * Sources: Parquet format, "Data Pages" and "Encodings" (RLE/bit-packing hybrid; levels of a DataPageV2 have no length before them);
 * IEEE 754-2019, binary16.
 */
import type { ColumnMetaData, FileMetaData } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import type { ParquetWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';

/** As usual for Parquet: a reader takes a page at a time. */
const PAGE_BYTES = 1024 * 1024;

export interface Float16Lists {
  readonly name: string;
  /** `[rows][length]`, float32 values. */
  readonly rows: ArrayLike<ArrayLike<number>>;
  readonly length: number;
}

/** Rounded to nearest, ties to even; beyond 65,504 infinity. */
export function encodeFloat16(values: ArrayLike<number>, into: Uint16Array, offset = 0): void {
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let at = 0; at < values.length; at += 1) {
    float[0] = values[at] ?? NaN;
    const all = bits[0] ?? 0;
    const magnitude = all & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000) half = 0x7e00;
    // 65,520 and more
    else if (magnitude >= 0x477ff000) half = 0x7c00;
    // At least 2^-14: 13 bits of the fraction go, and 112 of the exponent's bias.
    else if (magnitude >= 0x38800000) half = ((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - (112 << 10);
    else {
      // Subnormal, multiples of 2^-24: those of a float32 between 0.5 and 1, so that an addition rounds.
      bits[0] = magnitude;
      float[0] = (float[0] ?? 0) + 0.5;
      half = (bits[0] ?? 0) - 0x3f000000;
    }
    into[offset + at] = ((all >>> 16) & 0x8000) | half;
  }
}

let table: Float32Array | undefined;

/** Exact. */
export function decodeFloat16(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => {
    const [sign, exponent, fraction] = [half >>> 15 === 0 ? 1 : -1, (half >>> 10) & 0x1f, half & 0x3ff];
    if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  });
  const values = new Float32Array(halves.length);
  for (let at = 0; at < halves.length; at += 1) values[at] = table[halves[at] ?? 0] ?? NaN;
  return values;
}

const varint = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]);

/** 0 where a list begins, else 1: one bit each, bit-packed. */
function repetitionLevels(values: number, length: number): Uint8Array {
  const groups = Math.ceil(values / 8);
  const header = varint(groups * 2 + 1);
  const levels = new Uint8Array(header.length + groups).fill(0xff);
  levels.set(header);
  if (values % 8 !== 0) levels[levels.length - 1] = 2 ** (values % 8) - 1;
  for (let at = 0; at < values; at += length) levels[header.length + (at >>> 3)] = (levels[header.length + (at >>> 3)] ?? 0) & ~(1 << (at & 7));
  return levels;
}

/** Every value is there: one run of ones. */
const definitionLevels = (values: number): Uint8Array => Uint8Array.from([...varint(values * 2), 1]);

/** Adds the column, as the schema's last, to the one row group that was just written with the others. */
export function appendFloat16Lists(writer: ParquetWriter, { name, rows, length }: Float16Lists): void {
  const [group] = writer.row_groups;
  if (group === undefined) return;
  const { writer: out } = writer;
  const start = out.offset;
  const rowsOfPage = Math.max(1, Math.floor(PAGE_BYTES / (length * 2)));
  let uncompressed = 0;
  for (let from = 0; from < rows.length; from += rowsOfPage) {
    const count = Math.min(rowsOfPage, rows.length - from);
    const halves = new Uint16Array(count * length);
    for (let row = 0; row < count; row += 1) encodeFloat16(rows[from + row] ?? [], halves, row * length);
    const [repetition, definition] = [repetitionLevels(halves.length, length), definitionLevels(halves.length)];
    const compressed = writer.compressors.SNAPPY(littleEndian(halves));
    const levels = repetition.byteLength + definition.byteLength;
    const headerStart = out.offset;
    writePageHeader(out, {
      type: 'DATA_PAGE_V2', uncompressed_page_size: levels + halves.byteLength, compressed_page_size: levels + compressed.byteLength,
      data_page_header_v2: {
        num_values: halves.length, num_nulls: 0, num_rows: count, encoding: 'PLAIN',
        repetition_levels_byte_length: repetition.byteLength, definition_levels_byte_length: definition.byteLength, is_compressed: true,
      },
    });
    uncompressed += out.offset - headerStart + levels + halves.byteLength;
    for (const bytes of [repetition, definition, compressed]) out.appendBytes(bytes);
  }
  group.columns.push({
    file_offset: BigInt(start),
    meta_data: {
      type: 'FIXED_LEN_BYTE_ARRAY', encodings: ['PLAIN', 'RLE'], path_in_schema: [name, 'list', 'element'], codec: 'SNAPPY', num_values: BigInt(rows.length * length),
      total_uncompressed_size: BigInt(uncompressed), total_compressed_size: BigInt(out.offset - start), data_page_offset: BigInt(start),
    },
  });
  group.total_byte_size += BigInt(uncompressed);
  group.total_compressed_size = (group.total_compressed_size ?? 0n) + BigInt(out.offset - start);
}

/** `[rows, length]` as float32; undefined where the column is laid out in another way than `appendFloat16Lists` does. May throw on a damaged file. */
export function readFloat16Lists(buffer: ArrayBuffer, footer: FileMetaData, name: string): { values: Float32Array; length: number } | undefined {
  const rows = Number(footer.num_rows);
  const columns = footer.row_groups.map(({ columns: all }) => all.find(({ meta_data: column }) => column?.path_in_schema[0] === name)?.meta_data);
  const total = columns.reduce((sum, column) => sum + Number(column?.num_values ?? NaN), 0);
  const length = total / rows;
  if (!Number.isInteger(length) || length === 0) return undefined;
  const halves = new Uint16Array(total);
  let filled = 0;
  for (const column of columns) {
    if (column === undefined || !isPlain(column)) return undefined;
    const end = Number(column.data_page_offset + column.total_compressed_size);
    const reader = { view: new DataView(buffer, Number(column.data_page_offset), end - Number(column.data_page_offset)), offset: 0 };
    while (reader.offset < reader.view.byteLength) {
      const header = parquetHeader(reader);
      const page = header.data_page_header_v2;
      if (page?.encoding !== 'PLAIN' || page.num_nulls !== 0) return undefined;
      const levels = page.repetition_levels_byte_length + page.definition_levels_byte_length;
      const bytes = new Uint8Array(buffer, reader.view.byteOffset + reader.offset, header.compressed_page_size);
      if (Buffer.compare(bytes.subarray(0, page.repetition_levels_byte_length), repetitionLevels(page.num_values, length)) !== 0) return undefined;
      const plain = page.is_compressed === false ? bytes.subarray(levels) : decompressPage(bytes.subarray(levels), header.uncompressed_page_size - levels, column.codec, undefined);
      if (plain.byteLength !== page.num_values * 2 || filled + page.num_values > total) return undefined;
      halves.set(littleEndianHalves(plain), filled);
      filled += page.num_values;
      reader.offset += header.compressed_page_size;
    }
  }
  return filled === total ? { values: decodeFloat16(halves), length } : undefined;
}

const isPlain = ({ type, codec, dictionary_page_offset: dictionary }: ColumnMetaData): boolean =>
  type === 'FIXED_LEN_BYTE_ARRAY' && (codec === 'SNAPPY' || codec === 'UNCOMPRESSED') && dictionary === undefined;

/** Every platform that TensorFlow runs on is little-endian, as Parquet is. */
const littleEndian = (halves: Uint16Array): Uint8Array => new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength);
const littleEndianHalves = (bytes: Uint8Array): Uint16Array => new Uint16Array(Uint8Array.from(bytes).buffer);
