/**
 * Parquet files in memory, column by column: the narrow use that tables here and label tables on workers make of it.
 * Invariants: the same columns give the same bytes; a damaged file gives SHARD_CORRUPT, never a plain exception.
 */
import { parquetMetadata, parquetRead, type DecodedArray, type FileMetaData, type SchemaElement } from 'hyparquet';
import { ByteWriter, parquetWriteBuffer, ParquetWriter, type ColumnSource } from 'hyparquet-writer';
import { AlumnusError } from '../proto/errors.ts';
import { appendFloat16Lists, readFloat16Lists, type Float16Lists } from './float16-lists.ts';

/** Fixed, because it becomes part of the bytes and so of the digest. */
const CREATED_BY = 'alumnus';
/** One row group: a table is read whole or by column, never by row. */
const ROWS_MAX = 2 ** 31 - 1;

export interface ParquetOptions {
  readonly schema?: SchemaElement[];
  /** Key-value metadata of the file, written in the order of the keys. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** A last column of lists of one length, which needs `schema`. */
  readonly float16Lists?: Float16Lists;
}

export function writeParquet(columns: readonly ColumnSource[], options: ParquetOptions = {}): Uint8Array {
  const metadata = Object.entries(options.metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value }));
  if (options.float16Lists !== undefined && options.schema !== undefined) {
    const bytes = new ByteWriter();
    const writer = new ParquetWriter({ writer: bytes, schema: options.schema, codec: 'SNAPPY', createdBy: CREATED_BY, kvMetadata: metadata });
    void writer.write({ columnData: [...columns], rowGroupSize: ROWS_MAX });
    appendFloat16Lists(writer, options.float16Lists);
    void writer.finish();
    return bytes.getBytes();
  }
  return new Uint8Array(parquetWriteBuffer({
    columnData: [...columns], createdBy: CREATED_BY, codec: 'SNAPPY', rowGroupSize: ROWS_MAX, kvMetadata: metadata, ...(options.schema === undefined ? {} : { schema: options.schema }),
  }));
}

export interface ParquetTable {
  readonly rows: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Values in row order. @throws AlumnusError SHARD_CORRUPT where there is no such column or it is damaged. */
  column(name: string): Promise<DecodedArray>;
  /** `[rows]` of a column of lists of float16. @throws AlumnusError SHARD_CORRUPT */
  float16Lists(name: string): Promise<ArrayLike<ArrayLike<number>>>;
}

/** @param where names the file in errors. @throws AlumnusError SHARD_CORRUPT */
export function openParquet(content: Uint8Array, where: string): ParquetTable {
  const corrupt = (reason: string, cause?: unknown): AlumnusError => new AlumnusError('SHARD_CORRUPT', `the table ${reason}`, { where, cause });
  // A copy: a Buffer may be a window on memory that it shares, and the library wants a buffer of its own.
  const buffer = new Uint8Array(content).buffer;
  const file = { byteLength: buffer.byteLength, slice: (start: number, end?: number) => buffer.slice(start, end) };
  let footer: FileMetaData;
  try {
    footer = parquetMetadata(buffer);
  } catch (thrown) {
    throw corrupt('is not a Parquet file', thrown);
  }
  const rows = Number(footer.num_rows);
  const table: ParquetTable = {
    rows,
    metadata: Object.fromEntries((footer.key_value_metadata ?? []).map(({ key, value }) => [key, value ?? ''])),
    async column(name) {
      if (!footer.schema.some((element) => element.name === name)) throw corrupt(`has no column "${name}"`);
      const pieces: { rowStart: number; values: DecodedArray }[] = [];
      try {
        await parquetRead({ file, metadata: footer, columns: [name], onChunk: ({ columnData, rowStart }) => { pieces.push({ rowStart, values: columnData }); } });
      } catch (thrown) {
        throw corrupt(`has a damaged column "${name}"`, thrown);
      }
      const [first] = pieces.sort((a, b) => a.rowStart - b.rowStart);
      const values: DecodedArray = pieces.length === 1 && first !== undefined ? first.values : pieces.flatMap((piece) => Array.from<unknown>(piece.values));
      if (values.length !== rows) throw corrupt(`has ${values.length} values in column "${name}" where it has ${rows} rows`);
      return values;
    },
    async float16Lists(name) {
      let lists: ReturnType<typeof readFloat16Lists>;
      try {
        lists = readFloat16Lists(buffer, footer, name);
      } catch (thrown) {
        throw corrupt(`has a damaged column "${name}"`, thrown);
      }
      if (lists === undefined) return (await table.column(name)) as ArrayLike<ArrayLike<number>>;
      const { values, length } = lists;
      return Array.from({ length: rows }, (_, row) => values.subarray(row * length, (row + 1) * length));
    },
  };
  return table;
}
