/**
 * Parquet files in memory, column by column: the narrow use that tables here and label tables on workers make of it.
 * Invariants: the same columns give the same bytes; a damaged file gives SHARD_CORRUPT, never a plain exception.
 */
import { parquetMetadata, parquetRead, type DecodedArray, type FileMetaData, type SchemaElement } from 'hyparquet';
import { ByteWriter, parquetWriteBuffer, ParquetWriter, schemaFromColumnData, type BasicType, type ColumnSource } from 'hyparquet-writer';
import { AlumnusError } from '../proto/errors.ts';
import { appendFloat16Lists, readFloat16Lists, type Float16Lists } from './float16-lists.ts';

/** Fixed, because it becomes part of the bytes and so of the digest. */
const CREATED_BY = 'alumnus';
/** One row group: a table is read whole or by column, never by row. */
const ROWS_MAX = 2 ** 31 - 1;
/**
 * Rows of a row group where a table is written as its rows come: what is held of it. Part of the bytes of every table that has
 * more rows, and so of its digest. Some 30 MB, and above the parts of MNIST, CIFAR and STL-10.
 */
export const STREAMED_GROUP_ROWS = 2 ** 17;

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

/**
 * As `writeParquet`, of rows that come one after another: to the byte the same where they fit one row group.
 * @param types of the columns, by name, in their order; none has nulls. @param rows a value for each column
 */
export async function* streamParquet(types: Readonly<Record<string, BasicType>>, rows: AsyncIterable<readonly unknown[]>, groupRows = STREAMED_GROUP_ROWS): AsyncGenerator<Uint8Array> {
  const columns = Object.entries(types).map(([name, type]): ColumnSource & { data: unknown[] } => ({ name, type, nullable: false, data: [] }));
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema: schemaFromColumnData({ columnData: columns }), codec: 'SNAPPY', createdBy: CREATED_BY, kvMetadata: [] });
  const taken = (): Uint8Array => {
    // The library keeps the place in the file apart from the place in its buffer, for whoever writes the buffer out.
    const piece = bytes.getBytes().slice();
    bytes.index = 0;
    return piece;
  };
  const write = (): Uint8Array => {
    void writer.write({ columnData: columns.map(({ name, data }) => ({ name, data })), rowGroupSize: ROWS_MAX });
    for (const column of columns) column.data.length = 0;
    return taken();
  };
  for await (const row of rows) {
    for (const [at, column] of columns.entries()) column.data.push(row[at]);
    if (columns[0]?.data.length === groupRows) yield write();
  }
  if (columns[0] !== undefined && columns[0].data.length > 0) yield write();
  void writer.finish();
  yield taken();
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
