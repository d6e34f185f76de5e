/** Columns of float16 lists: rounded as IEEE 754 says, the same plain Parquet to an independent reader, and read whoever wrote them. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { openParquet, writeParquet } from '../../../dataset/index.ts';
import { randomFrom } from '../../harness/random.ts';

type Schema = NonNullable<NonNullable<Parameters<typeof writeParquet>[1]>['schema']>;
const schema: Schema = [
  { name: 'root', num_children: 2 },
  { name: 'key', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'values', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', type: 'FIXED_LEN_BYTE_ARRAY', type_length: 2, logical_type: { type: 'FLOAT16' }, repetition_type: 'REQUIRED' },
];
const keysOf = (rows: readonly unknown[]): string[] => rows.map((_, at) => `key${at}`);
const written = (rows: number[][]): Uint8Array => writeParquet([{ name: 'key', data: keysOf(rows) }], { schema, float16Lists: { name: 'values', rows, length: rows[0]?.length ?? 0 } });
/** As the library does, which goes value by value. */
async function byLibrary(bytes: Uint8Array): Promise<number[][]> {
  const { buffer } = new Uint8Array(bytes);
  const rows = await parquetReadObjects({ file: { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) } });
  return rows.map((row) => row['values'] as number[]);
}
const read = async (bytes: Uint8Array): Promise<number[][]> => Array.from(await openParquet(bytes, 'table').float16Lists('values'), (list) => Array.from(list));
const drawn = (rows: number, length: number): number[][] => {
  const uniform = randomFrom(rows * 1000 + length);
  return Array.from({ length: rows }, () => Array.from({ length }, () => -20 * uniform()));
};

describe('a column of float16 lists', () => {
  it('rounds to nearest, ties to even, as numpy does', async () => {
    // numpy.array(given, float32).astype(float16)
    const given = [0, -0, -1, -0.1, -0.001, -3.3333333, -6.103515625e-5, -(2 ** -24), -(2 ** -25), -8.940696716308594e-8, -1.4901161193847656e-7, -6.1e-5, -1e-8, -2049, -2051, -60000, -59983.9, -65504, -65519.99, -65520, -1e6, 7.4e-6, 1023.5, 1023.75];
    const expected = [0, -0, -1, -0.0999755859375, -1049 / 2 ** 20, -3.333984375, -6.103515625e-5, -(2 ** -24), -0, -1.1920928955078125e-7, -1.1920928955078125e-7, -6.097555160522461e-5, -0, -2048, -2052, -60000, -59968, -65504, -65504, -Infinity, -Infinity, 7.3909759521484375e-6, 1023.5, 1024];
    expect(await byLibrary(written([given]))).toEqual([expected]);
    expect(await read(written([given]))).toEqual([expected]);
    expect((await read(written([[NaN, 1]])))[0]).toEqual([NaN, 1]);
  });

  // Levels of a bit each end within a byte or with it; the last two are of several pages, the last of one row each.
  it.each([[1, 1], [1, 8], [3, 5], [7, 8], [200, 10], [140, 4000], [2, 530_000]])('of %i rows of %i values is read alike by an independent reader', async (rows, length) => {
    const lists = drawn(rows, length);
    const bytes = written(lists);
    const [mine, theirs] = [await read(bytes), await byLibrary(bytes)];
    expect([mine.length, theirs.length]).toEqual([rows, rows]);
    for (let row = 0; row < rows; row += 1) {
      expect(Buffer.from(Float64Array.from(mine[row] ?? []).buffer).equals(Buffer.from(Float64Array.from(theirs[row] ?? []).buffer)), String(row)).toBe(true);
      expect(mine[row]?.every((value, at) => Math.abs(value - (lists[row]?.[at] ?? NaN)) <= 20 * 2 ** -11)).toBe(true);
    }
  });

  it('without rows is a table, too', async () => {
    expect(await read(written([]))).toEqual([]);
    expect(await byLibrary(written([]))).toEqual([]);
  });

  it('is read as well where lists have other lengths or another writer laid them out', async () => {
    for (const rows of [[[1, 2, 3], [4, 5, 6]], [[1], [2, 3, 4], [5, 6]], [[1, 2], [3, 4, 5, 6]]]) {
      const bytes = new Uint8Array(parquetWriteBuffer({ schema, columnData: [{ name: 'key', data: keysOf(rows) }, { name: 'values', data: rows }] }));
      expect(await read(bytes)).toEqual(rows);
    }
  });

  it('is named when it is damaged', async () => {
    const bytes = written(drawn(50, 10));
    const start = Number(parquetMetadata(new Uint8Array(bytes).buffer).row_groups[0]?.columns[1]?.meta_data?.data_page_offset);
    // Of the page's header: the values themselves are guarded by the object's digest.
    for (const at of [start, start + 1, start + 4]) {
      const damaged = Uint8Array.from(bytes).fill(0xff, at, at + 4);
      await expect(read(damaged), String(at)).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: 'table' });
    }
    await expect(openParquet(bytes, 'table').float16Lists('others')).rejects.toMatchObject({ code: 'SHARD_CORRUPT' });
  });
});
