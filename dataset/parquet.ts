/**
 * Parquet files in memory, column by column: the narrow use that tables here and label tables on workers make of it.
 * Invariants: the same columns give the same bytes; a damaged file gives SHARD_CORRUPT, never a plain exception.
 */
import { parquetMetadata, parquetRead, type DecodedArray, type FileMetaData, type SchemaElement } from 'hyparquet';
import { parquetWriteBuffer, type ColumnSource } from 'hyparquet-writer';
import { AlumnusError } from '../proto/errors.ts';

/** Fixed, because it becomes part of the bytes and so of the digest. */
const CREATED_BY = 'alumnus';
/** One row group: a table is read whole or by column, never by row. */
const ROWS_MAX = 2 ** 31 - 1;

export interface ParquetOptions {
  readonly schema?: SchemaElement[];
  /** Key-value metadata of the file, written in the order of the keys. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export function writeParquet(columns: readonly ColumnSource[], options: ParquetOptions = {}): Uint8Array {
  const metadata = Object.entries(options.metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value }));
  return new Uint8Array(parquetWriteBuffer({
    columnData: [...columns], createdBy: CREATED_BY, codec: 'SNAPPY', rowGroupSize: ROWS_MAX, kvMetadata: metadata, ...(options.schema === undefined ? {} : { schema: options.schema }),
  }));
}

export interface ParquetTable {
  readonly rows: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Values in row order. @throws AlumnusError SHARD_CORRUPT where there is no such column or it is damaged. */
  column(name: string): Promise<DecodedArray>;
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
  return {
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
  };
}
