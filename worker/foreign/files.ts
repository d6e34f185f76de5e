/**
 * The files of a model that lies elsewhere: in a folder, in a bucket, or behind http(s), which has no listing. Which files
 * belong to it follows from its format. Not for: keeping them (the import task writes them to the store, by digest).
 * Invariants:
 *  1. Nothing at the place is written, and of a folder nothing is read that the format does not name.
 *  2. A file's path is relative and leads nowhere else.
 *  3. Files, their number and their bytes are bounded.
 */
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import type { ForeignTeacher } from '../../recipe/index.ts';
import { checkKey, openPlace, type ObjectReader } from '../../store/index.ts';
import type { ModelFormat } from './model.ts';
import { aboutOnnx } from './onnx.ts';
import { TFJS_FILE, type TfjsJson } from './tfjs.ts';

/** Far above any model in files: a folder with more is something else. */
const FILES_MAX = 1_000;
/** Of all files: a model that a worker cannot hold is no teacher. */
const BYTES_MAX = 64 * 1024 ** 3;
/** Of a file that is read whole to find the others: protocol buffers end at 2 GiB. */
const WHOLE_BYTES_MAX = 2 * 1024 ** 3;
/** Read at once of one file. */
const WINDOW_BYTES = 8 * 1024 ** 2;

export interface ModelFile {
  /** Below the model's folder. */
  readonly path: string;
  /** Its bytes, once. @throws AlumnusError TEACHER_NOT_FOUND, TEACHER_UNREACHABLE, TEACHER_UNREADABLE */
  read(): AsyncIterable<Uint8Array>;
}

/** Where a model lies, whichever way it is reached. */
interface Place {
  /** Undefined where there is no such file. What was opened is read to its end, or left by `return`. */
  open(path: string): Promise<AsyncIterable<Uint8Array> | undefined>;
  has(path: string): Promise<boolean>;
  /** Paths that begin with `prefix`; undefined where a place can't list. */
  list?(prefix: string): AsyncIterable<string>;
}

const SAVED_MODEL = 'saved_model.pb';
const where = 'models.teacher.url';

const notFound = (what: string, cause?: unknown): AlumnusError => new AlumnusError('TEACHER_NOT_FOUND', what, { where, cause });
const unreadable = (what: string, cause?: unknown): AlumnusError => new AlumnusError('TEACHER_UNREADABLE', what, { where, cause });
const tooLarge = (what: string): AlumnusError => unreadable(`${what}, and ${FILES_MAX} files of ${BYTES_MAX / 1024 ** 3} GiB are the most that is imported`);

/** The URL as a person finds it: without parameters, which may hold a signature. */
const printed = (url: string): string => url.replace(/[?#].*$/s, '');

/** A URL's folder, and the file that it names below it, if it names one. @throws AlumnusError TEACHER_NOT_FOUND */
function split(url: string): { folder: string; file: string | undefined } {
  const [, path = '', parameters = ''] = /^([^?#]*)(.*)$/s.exec(url) ?? [];
  const [, folder = '', file = ''] = /^(.*\/)([^/]*)$/s.exec(path) ?? [];
  if (/\.(onnx|json|pb)$/.test(file)) return { folder: `${folder.replace(/\/$/, '')}${parameters}`, file: decoded(file, url) };
  return { folder: `${path.replace(/\/+$/, '')}${parameters}`, file: undefined };
}

function decoded(file: string, url: string): string {
  try {
    return decodeURIComponent(file);
  } catch (thrown) {
    throw notFound(`${printed(url)} is no URL of a file: write a percent sign as %25`, thrown);
  }
}

/** A place's own errors, told of the teacher; what surrounds the worker (keys, network) stays what it is. */
function ofTeacher(thrown: unknown, url: string): AlumnusError {
  const error = toAlumnusError(thrown, printed(url));
  if (['OBJECT_NOT_FOUND', 'STORE_NOT_FOUND', 'BUCKET_NOT_FOUND', 'USAGE'].includes(error.code)) return notFound(`${error.where === '' ? printed(url) : error.where}: ${error.message}`, thrown);
  if (error.code === 'DIGEST_MISMATCH') return unreadable(`${error.where}: ${error.message}: the file changes while it is read`, thrown);
  return error;
}

async function openReader(url: string): Promise<Place> {
  let reader: ObjectReader;
  try {
    reader = await openPlace(url);
  } catch (thrown) {
    throw ofTeacher(thrown, url);
  }
  async function* windows(key: string, bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      // Its digest is what is found out by reading.
      for (let at = 0; at < bytes; at += WINDOW_BYTES) yield await reader.getRange({ key, bytes, sha256: '' }, at, Math.min(bytes, at + WINDOW_BYTES));
    } catch (thrown) {
      throw ofTeacher(thrown, url);
    }
  }
  async function* list(prefix: string): AsyncGenerator<string, void, undefined> {
    let files = 0;
    try {
      for await (const { key } of reader.list(prefix)) {
        files += 1;
        if (files > FILES_MAX) throw tooLarge(`${printed(url)} holds more than ${FILES_MAX} files`);
        yield key;
      }
    } catch (thrown) {
      throw ofTeacher(thrown, url);
    }
  }
  const bytesOf = async (path: string): Promise<number | undefined> => {
    try {
      for await (const { key, bytes } of reader.list(path)) if (key === path) return bytes;
    } catch (thrown) {
      throw ofTeacher(thrown, url);
    }
    return undefined;
  };
  return {
    list,
    has: async (path) => (await bytesOf(path)) !== undefined,
    async open(path) {
      const bytes = await bytesOf(path);
      return bytes === undefined ? undefined : windows(path, bytes);
    },
  };
}

function openWeb(url: string, signal: AbortSignal): Place {
  const [, base = '', parameters = ''] = /^([^?#]*)(.*)$/s.exec(url) ?? [];
  const unreachable = (address: string, what: string, cause?: unknown): AlumnusError => new AlumnusError('TEACHER_UNREACHABLE', `${printed(address)}: ${what}`, { where, cause });
  const failed = (address: string, thrown: unknown): unknown => {
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause.message : thrown instanceof Error ? thrown.message : String(thrown);
    return signal.aborted || thrown instanceof AlumnusError ? thrown : unreachable(address, cause, thrown);
  };
  const addressOf = (path: string): string => `${base}/${path.split('/').map(encodeURIComponent).join('/')}${parameters}`;
  /** Undefined where the server has no such file. */
  const get = async (address: string): Promise<Response | undefined> => {
    let answer: Response;
    try {
      answer = await fetch(address, { signal });
    } catch (thrown) {
      throw failed(address, thrown);
    }
    if (answer.ok) return answer;
    await answer.body?.cancel();
    if (answer.status === 404 || answer.status === 410) return undefined;
    if (answer.status >= 500 || answer.status === 429) throw unreachable(address, `the server answers ${answer.status}`);
    throw notFound(`${printed(address)}: the server answers ${answer.status} ${answer.statusText}`.trimEnd());
  };
  async function* chunks(address: string, body: Response['body']): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) yield chunk;
    } catch (thrown) {
      throw failed(address, thrown);
    }
  }
  return {
    // Asked for as it will be read: not every server answers HEAD, and signed addresses are signed for GET.
    async has(path) {
      const answer = await get(addressOf(path));
      await answer?.body?.cancel();
      return answer !== undefined;
    },
    async open(path) {
      const answer = await get(addressOf(path));
      return answer === undefined ? undefined : chunks(addressOf(path), answer.body);
    },
  };
}

/** @throws AlumnusError TEACHER_NOT_FOUND, TEACHER_UNREADABLE, TEACHER_UNREACHABLE; the store's errors of what surrounds a worker */
export async function filesOf({ url, format: asked }: Pick<ForeignTeacher, 'url' | 'format'>, signal: AbortSignal): Promise<{ format: ModelFormat; files: ModelFile[] }> {
  const { folder, file } = split(url);
  const place = /^https?:/.test(url) ? openWeb(folder, signal) : await openReader(folder);
  const format = asked ?? formatOfName(file) ?? await formatAt(place, url);
  const name = (byDefault: string): string => file ?? byDefault;
  switch (format) {
    case 'savedmodel': return { format, files: await savedModelFiles(place, url) };
    case 'tfjs': return { format, files: await tfjsFiles(place, url, name(TFJS_FILE)) };
    case 'onnx': return { format, files: await onnxFiles(place, url, file ?? await onnxName(place, url)) };
  }
}

function formatOfName(file: string | undefined): ModelFormat | undefined {
  if (file === undefined) return undefined;
  return file.endsWith('.onnx') ? 'onnx' : file.endsWith('.json') ? 'tfjs' : 'savedmodel';
}

async function formatAt(place: Place, url: string): Promise<ModelFormat> {
  const found: ModelFormat[] = [];
  if (await place.has(SAVED_MODEL)) found.push('savedmodel');
  if (await place.has(TFJS_FILE)) found.push('tfjs');
  if ((await onnxNames(place)).length > 0) found.push('onnx');
  const [format] = found;
  if (format === undefined) throw notFound(`${printed(url)} holds none of ${SAVED_MODEL}, ${TFJS_FILE} and ${place.list === undefined ? 'model.onnx' : 'a file that ends in .onnx'}`);
  if (found.length > 1) throw unreadable(`${printed(url)} holds models in the formats ${found.join(' and ')}: say which in models.teacher.format`);
  return format;
}

/** ONNX models right below the place. */
async function onnxNames(place: Place): Promise<string[]> {
  if (place.list === undefined) return (await place.has('model.onnx')) ? ['model.onnx'] : [];
  const names: string[] = [];
  for await (const path of place.list('')) if (path.endsWith('.onnx') && !path.includes('/')) names.push(path);
  return names;
}

async function onnxName(place: Place, url: string): Promise<string> {
  const names = await onnxNames(place);
  const [name] = names;
  if (name === undefined) throw notFound(`${printed(url)} holds no file that ends in .onnx`);
  if (names.length > 1) throw unreadable(`${printed(url)} holds ${names.join(', ')}: name one of them in models.teacher.url`);
  return name;
}

/** A file that is read when it is wanted. */
const later = (place: Place, url: string, path: string): ModelFile => ({
  path,
  async *read() {
    const content = await place.open(path);
    if (content === undefined) throw notFound(`${printed(url)}: there is no file ${path}`);
    yield* content;
  },
});

/** A file that was read already. */
const held = (path: string, content: Uint8Array): ModelFile => ({
  path,
  async *read() {
    yield content;
  },
});

async function whole(place: Place, url: string, path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of later(place, url, path).read()) {
    bytes += chunk.byteLength;
    if (bytes > WHOLE_BYTES_MAX) throw unreadable(`${path} is larger than ${WHOLE_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

/** A path that a model's own file names. @throws AlumnusError TEACHER_UNREADABLE */
function within(path: unknown, by: string): string {
  try {
    return checkKey(String(path).replace(/^\.\//, ''));
  } catch (thrown) {
    throw unreadable(`${by} names a file ${JSON.stringify(path)}, which is not one below its own folder`, thrown);
  }
}

async function savedModelFiles(place: Place, url: string): Promise<ModelFile[]> {
  if (place.list !== undefined) {
    const paths: string[] = [];
    for await (const path of place.list('')) if (path === SAVED_MODEL || path.startsWith('variables/') || path.startsWith('assets/')) paths.push(path);
    if (!paths.includes(SAVED_MODEL)) throw notFound(`${printed(url)} holds no ${SAVED_MODEL}`);
    return paths.map((path) => later(place, url, path));
  }
  // Without a listing: what TensorFlow 2 writes of a model without assets.
  const [index, data] = ['variables/variables.index', 'variables/variables.data-00000-of-00001'];
  return [later(place, url, SAVED_MODEL), ...((await place.has(index)) ? [later(place, url, index), later(place, url, data)] : [])];
}

async function tfjsFiles(place: Place, url: string, name: string): Promise<ModelFile[]> {
  const content = await whole(place, url, name);
  let manifest: TfjsJson['weightsManifest'];
  try {
    manifest = (JSON.parse(Buffer.from(content).toString('utf8')) as TfjsJson).weightsManifest;
  } catch (thrown) {
    throw unreadable(`${name} is no JSON`, thrown);
  }
  if (!Array.isArray(manifest)) throw unreadable(`${name} is no model.json of TF.js: it has no weightsManifest`);
  const paths = new Set((manifest as NonNullable<TfjsJson['weightsManifest']>).flatMap((group) => group.paths ?? []).map((path) => within(path, name)));
  if (paths.size > FILES_MAX) throw tooLarge(`${name} names ${paths.size} files`);
  return [held(TFJS_FILE, content), ...[...paths].map((path) => later(place, url, path))];
}

async function onnxFiles(place: Place, url: string, name: string): Promise<ModelFile[]> {
  const content = await whole(place, url, name);
  const paths = aboutOnnx(content).external.map((path) => within(path, name));
  if (paths.length > FILES_MAX) throw tooLarge(`${name} names ${paths.length} files`);
  return [held(name, content), ...paths.map((path) => later(place, url, path))];
}

/** Counts what is read of a model's files and stops where they are too many bytes. */
export async function* bounded(content: AsyncIterable<Uint8Array>, sofar: { bytes: number }, onBytes: (bytes: number) => void): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of content) {
    sofar.bytes += chunk.byteLength;
    if (sofar.bytes > BYTES_MAX) throw tooLarge('the model is larger');
    onBytes(sofar.bytes);
    yield chunk;
  }
}
