/**
 * Parquet files as the Hugging Face hub lays image sets out: a column of images, `struct { bytes: binary, path: string }` or
 * binary alone, and a column of labels, indices of a ClassLabel or names. Which columns these are, and the classes' names, is
 * in the file's own metadata (`huggingface`); where it is not, columns go by their usual names. Read row group by row group.
 * Source of the layout: huggingface/datasets, `features/image.py` and `features/features.py` (ClassLabel: -1 is no label).
 */
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parquetMetadataAsync, parquetRead, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { z } from 'zod';
import { AlumnusError } from '../../proto/errors.ts';
import type { SourceLabel } from '../classes.ts';
import type { ImageExtension } from '../images.ts';
import { ENTRY_BYTES_MAX } from '../tar.ts';
import { unreadable } from './idx-format.ts';
import { ownDataDefaults, type Pool, type Source, type SourceSample } from './source.ts';

export interface ParquetFiles {
  /** Files, or folders of them. */
  readonly paths: readonly string[];
  readonly test?: readonly string[] | undefined;
  readonly unlabeled?: readonly string[] | undefined;
}

/** The images of one row group are in memory together; the hub writes groups of 100 rows. */
const GROUP_BYTES_MAX = 2 ** 30;
/** Where the file does not tell: as the hub's sets call them. */
const IMAGE_COLUMNS = ['image', 'img'];
const LABEL_COLUMNS = ['label', 'labels', 'fine_label', 'class'];

/** Of the metadata, what is asked here. */
const hubSchema = z.object({ info: z.object({ features: z.record(z.string(), z.looseObject({ _type: z.string().optional(), names: z.array(z.string()).optional() })) }) });

interface OpenedFile {
  readonly path: string;
  readonly pool: Pool;
  readonly footer: FileMetaData;
  readonly image: string;
  readonly label: string | undefined;
  readonly classes: readonly string[] | undefined;
}

const corrupt = (path: string, reason: string, cause?: unknown): AlumnusError => new AlumnusError('SHARD_CORRUPT', `the Parquet file ${reason}`, { where: path, cause });
const reasonOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** A file's ranges, for the library. */
function rangesOf(file: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const content = new Uint8Array(end - start);
      for (let at = 0; at < content.byteLength;) {
        const { bytesRead } = await file.read(content, at, content.byteLength - at, start + at);
        if (bytesRead === 0) throw new Error(`it ends at byte ${start + at}`);
        at += bytesRead;
      }
      return content.buffer;
    },
  };
}

async function withFile<Result>(path: string, use: (buffer: AsyncBuffer) => Promise<Result>): Promise<Result> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (thrown) {
    throw unreadable(path, `the file cannot be read: ${reasonOf(thrown)}`, thrown);
  }
  try {
    return await use(rangesOf(file, (await file.stat()).size));
  } finally {
    await file.close();
  }
}

/** A folder stands for its Parquet files: those of the split `train` where names tell splits, else all. */
async function filesOf(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    let names: string[];
    try {
      if (!(await stat(path)).isDirectory()) {
        files.push(path);
        continue;
      }
      names = (await readdir(path)).filter((name) => name.endsWith('.parquet')).sort();
    } catch (thrown) {
      throw unreadable(path, `the path cannot be read: ${reasonOf(thrown)}`, thrown);
    }
    const train = names.filter((name) => name.startsWith('train-'));
    if (names.length === 0) throw unreadable(path, 'the folder holds no Parquet file');
    files.push(...(train.length > 0 ? train : names).map((name) => join(path, name)));
  }
  return files;
}

async function openFile(path: string, pool: Pool): Promise<OpenedFile> {
  const footer = await withFile(path, async (buffer) => parquetMetadataAsync(buffer).catch((thrown: unknown) => {
    throw corrupt(path, `has no footer that can be read: ${reasonOf(thrown)}`, thrown);
  }));
  const columns = new Set(footer.row_groups.flatMap((group) => group.columns.map((column) => column.meta_data?.path_in_schema[0] ?? '')));
  const features = featuresOf(footer, path);
  const one = (told: string[], usual: readonly string[]): string | undefined => [...told, ...usual].find((name) => columns.has(name));
  const image = one(Object.entries(features).flatMap(([name, { _type }]) => (_type === 'Image' ? [name] : [])), IMAGE_COLUMNS);
  if (image === undefined) throw unreadable(path, `there is no column of images: its metadata names none, and no column is called ${IMAGE_COLUMNS.join(' or ')}; there are ${[...columns].join(', ')}`);
  const label = one(Object.entries(features).flatMap(([name, { _type }]) => (_type === 'ClassLabel' ? [name] : [])), LABEL_COLUMNS);
  return { path, pool, footer, image, label, classes: label === undefined ? undefined : features[label]?.names };
}

function featuresOf(footer: FileMetaData, path: string): z.infer<typeof hubSchema>['info']['features'] {
  const text = footer.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  if (text === undefined) return {};
  try {
    return hubSchema.parse(JSON.parse(text)).info.features;
  } catch (thrown) {
    throw corrupt(path, 'tells its features in a form that cannot be read', thrown);
  }
}

/** By the first bytes, since paths are optional and may lie. */
function extensionOf(bytes: Uint8Array, origin: string): ImageExtension {
  if (bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47) return 'png';
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return 'jpg';
  throw new AlumnusError('IMAGE_CORRUPT', 'the image is neither PNG nor JPEG', { where: origin });
}

function labelOf(value: unknown, origin: string): SourceLabel | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const index = Number(value);
  if ((typeof value !== 'bigint' && typeof value !== 'number') || !Number.isSafeInteger(index)) throw new AlumnusError('LABEL_OUT_OF_RANGE', 'the label is neither a whole number nor a name', { where: origin });
  return index < 0 ? undefined : index;
}

function sampleOf(file: OpenedFile, row: number, cells: Readonly<Record<string, unknown>>): SourceSample {
  const cell = cells[file.image];
  const { bytes, path } = cell instanceof Uint8Array ? { bytes: cell, path: undefined } : (cell ?? {}) as { bytes?: unknown; path?: unknown };
  const origin = `${basename(file.path)}[${row}]${typeof path === 'string' && path !== '' ? ` ${path}` : ''}`;
  if (!(bytes instanceof Uint8Array)) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'the row holds no bytes of an image: the file only refers to it', { where: origin });
  if (bytes.byteLength > ENTRY_BYTES_MAX) throw new AlumnusError('IMAGE_CORRUPT', `the image has ${bytes.byteLength} bytes, more than ${ENTRY_BYTES_MAX}`, { where: origin });
  const image = { encoded: bytes, extension: extensionOf(bytes, origin) };
  const label = file.pool === 'unlabeled' || file.label === undefined ? undefined : labelOf(cells[file.label], origin);
  return label === undefined ? { origin, pool: 'unlabeled', image } : { origin, pool: file.pool, label, image };
}

async function* samplesOf(file: OpenedFile): AsyncIterable<SourceSample> {
  const { path, footer } = file;
  const columns = file.label === undefined || file.pool === 'unlabeled' ? [file.image] : [file.image, file.label];
  let rowStart = 0;
  for (const [index, group] of footer.row_groups.entries()) {
    const rowEnd = rowStart + Number(group.num_rows);
    const bytes = group.columns.reduce((sum, { meta_data: data }) => sum + (data?.path_in_schema[0] === file.image ? Number(data.total_uncompressed_size) : 0), 0);
    if (bytes > GROUP_BYTES_MAX) throw new AlumnusError('DATASET_TOO_LARGE', `row group ${index} holds ${bytes} bytes of images, more than ${GROUP_BYTES_MAX}: write the file again with smaller row groups`, { where: path });
    let rows: Record<string, unknown>[] = [];
    try {
      await withFile(path, (buffer) => parquetRead({
        file: buffer, metadata: footer, columns, rowStart, rowEnd, rowFormat: 'object', utf8: false, compressors,
        onComplete: (read) => {
          rows = read;
        },
      }));
    } catch (thrown) {
      if (thrown instanceof AlumnusError) throw thrown;
      throw corrupt(path, `is damaged in row group ${index}: ${reasonOf(thrown)}`, thrown);
    }
    if (rows.length !== rowEnd - rowStart) throw corrupt(path, `has ${rows.length} rows in row group ${index} where it tells of ${rowEnd - rowStart}`);
    for (const [at, cells] of rows.entries()) yield sampleOf(file, rowStart + at, cells);
    rowStart = rowEnd;
  }
}

/** @throws AlumnusError DATASET_SOURCE_UNREADABLE, SHARD_CORRUPT */
export async function parquetSource({ paths, test = [], unlabeled = [] }: ParquetFiles): Promise<Source> {
  const files: OpenedFile[] = [];
  for (const [pool, named] of [['train', paths], ['test', test], ['unlabeled', unlabeled]] as const) {
    for (const path of await filesOf(named)) files.push(await openFile(path, pool));
  }
  const [first] = files;
  if (first === undefined) throw new AlumnusError('DATASET_SOURCE_UNREADABLE', 'no Parquet file was named', { where: 'parquet' });
  const labeled = files.filter(({ pool, label }) => pool !== 'unlabeled' && label !== undefined);
  const classes = labeled.find((file) => file.classes !== undefined)?.classes;
  for (const file of labeled) {
    if (file.classes?.join('\n') !== classes?.join('\n')) throw unreadable(file.path, `its classes are not those of ${labeled[0]?.path ?? ''}`);
  }
  return {
    name: `parquet:${basename(first.path)}${files.length > 1 ? ` and ${files.length - 1} more` : ''}`,
    defaults: ownDataDefaults,
    notes: [],
    samplesExpected: files.reduce((sum, { footer }) => sum + Number(footer.num_rows), 0),
    ...(classes === undefined ? {} : { classes }),
    async *samples() {
      for (const file of files) yield* samplesOf(file);
    },
  };
}
