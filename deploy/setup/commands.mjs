/**
 * The commands of the repository, by name. Each sets up what it needs first, and finds out in
 * milliseconds when nothing is to be done. Set-up writes to stderr only; a command's stdout is its own.
 */
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { closingLine, everydayProjects, staticChecks, tests } from './checks.mjs';
import { build, buildReady } from './compile.mjs';
import { SetupError, exitCode, storageError } from './errors.mjs';
import { withLock } from './lock.mjs';
import { installNative, nativeReady } from './native.mjs';
import { installPackages, packagesReady } from './packages.mjs';
import { cacheFolder, withinOwnNetwork } from './platform.mjs';
import { generateProtocol, protocolReady } from './protocol.mjs';
import { buildServers, serverNames, serverPath, serversReady } from './servers.mjs';

const root = fs.realpathSync(path.join(import.meta.dirname, '../..'));

/** In this order; each part needs those before it. */
const parts = {
  packages: { ready: () => packagesReady(root), make: (onChild) => installPackages(root, onChild) },
  native: { ready: (cache) => nativeReady(root, cache), make: (_, cache) => installNative(root, cache, process.env) },
  protocol: { ready: () => protocolReady(root), make: (onChild, cache) => generateProtocol(root, cache, onChild) },
  build: { ready: () => buildReady(root), make: (onChild) => build(root, onChild) },
  servers: { ready: serversReady, make: (onChild, cache) => buildServers(cache, onChild) },
  // For tests: a machine without Go leaves out what needs a server, and says so.
  serversIfPossible: { ready: serversReady, make: (onChild, cache) => buildServers(cache, onChild, { optional: true }) },
};
const everything = ['packages', 'native', 'protocol', 'build'];
/** The CLI's commands that start an engine; the others never touch TensorFlow. */
const commandsWithEngine = new Set(['demo', 'worker']);

/** @returns {Promise<boolean>} whether there was anything to do */
async function setUp(names) {
  const cache = cacheFolder(process.env);
  const missing = () => names.filter((name) => !parts[name].ready(cache));
  if (missing().length === 0) return false;
  try {
    fs.mkdirSync(cache, { recursive: true });
    const realCache = fs.realpathSync(cache);
    const record = path.join(realCache, 'locks', `${Buffer.from(root).toString('base64url').slice(-80)}.json`);
    await withLock(`checkout ${root}`, record, async (onChild) => {
      // Asked again one by one: another set-up may have done it while we waited, and one part makes the next one stale.
      for (const name of names) {
        if (!parts[name].ready(realCache)) await parts[name].make(onChild, realCache);
      }
    });
  } catch (error) {
    throw storageError(error, cache);
  }
  return true;
}

const commands = {
  async setup() {
    const startMs = performance.now();
    const worked = await setUp(everything);
    process.stderr.write(worked ? `Ready in ${((performance.now() - startMs) / 1000).toFixed(1)} s.\n` : 'Ready: nothing was to be done.\n');
    return 0;
  },

  /** Only the packages and the native library: for container images, which bring dist/ themselves. */
  async native() {
    await setUp(['packages', 'native']);
    return 0;
  },

  async build() {
    await setUp(['packages', 'protocol', 'build']);
    return 0;
  },

  /** The real NATS, S3 and Prometheus servers that tests and trials run against. */
  async servers() {
    const cache = cacheFolder(process.env);
    const worked = await setUp(['servers']);
    if (!worked) process.stderr.write('Ready: nothing was to be done.\n');
    for (const name of serverNames) process.stdout.write(`${serverPath(cache, name)}\n`);
    return 0;
  },

  demo: (args) => commands.alumnus(['demo', ...args]),

  /** The CLI itself, in this very process: one start-up instead of two, and signals need nobody to pass them on. */
  async alumnus(args) {
    await setUp(commandsWithEngine.has(args[0]) ? everything : ['packages', 'protocol', 'build']);
    const main = path.join(root, 'dist/cli/main.js');
    if (!fs.existsSync(main)) throw new SetupError('This checkout has no cli/main.ts.', 'Check that the clone is complete (git status).');
    process.removeListener('SIGINT', onInterrupt);
    process.argv = [process.execPath, main, ...args];
    await import(pathToFileURL(main).href);
    return undefined;
  },

  async typecheck() {
    await setUp(['packages', 'protocol']);
    return staticChecks(root, ['types', 'types of the page']);
  },

  async lint() {
    await setUp(['packages', 'protocol']);
    return staticChecks(root, ['lint', 'import directions', 'wire style', 'wire compatibility']);
  },

  async test(args) {
    await setUp(['packages', 'native', 'protocol']);
    const code = await staticChecks(root, ['types', 'types of the page', 'lint', 'import directions', 'wire style', 'wire compatibility']);
    if (code !== 0) {
      process.stdout.write(`${closingLine({ passed: 0, failed: 1, skipped: 0 })}\n`);
      return code;
    }
    // Tests that start processes start them from dist/, and the servers that these talk to.
    await setUp([...everything, 'serversIfPossible']);
    return tests(root, { name: 'tests', projects: everydayProjects, args });
  },

  async 'test:simulation'(args) {
    const { values, positionals } = options(args, { seeds: { type: 'string' }, start: { type: 'string' } });
    const env = {};
    if (values.seeds !== undefined) env.ALUMNUS_SIMULATION_SEEDS = wholeNumber('--seeds', values.seeds, 1);
    if (values.start !== undefined) env.ALUMNUS_SIMULATION_START = wholeNumber('--start', values.start, 0);
    await setUp(['packages', 'native', 'protocol']);
    return tests(root, { name: 'simulation', projects: ['simulation'], args: positionals, env: { ALUMNUS_SIMULATION_LONG: '1', ...env } });
  },

  async 'test:chaos'(args) {
    await setUp([...everything, 'serversIfPossible']);
    return tests(root, { name: 'chaos', projects: ['chaos'], args, env: { ALUMNUS_CHAOS: '1' }, within: withinOwnNetwork() });
  },

  async 'test:browser'(args) {
    await setUp(everything);
    return tests(root, { name: 'browser', projects: ['browser'], args, env: { ALUMNUS_BROWSER: '1' } });
  },

  /** The pages of docs/reference; `npm test` holds them against the code. */
  async docs() {
    await setUp(['packages', 'native', 'protocol']);
    return tests(root, { name: 'docs', projects: ['unit'], args: ['tests/unit/docs/reference.test.ts', '--update'] });
  },

  bench: (args) => experiment('bench', 'bench', args),
  results: (args) => experiment('results', 'bench/results', args),
};

const toVitest = 'What follows -- goes to vitest: files, -t NAME, --bail 1.';
/** What `npm run COMMAND -- --help` answers, at once; the others' arguments are their own. */
const help = {
  setup: 'npm run setup\n\nPackages, the native library, the wire types and the build, each where it is missing or stale.',
  build: 'npm run build\n\nCompiles to dist/, which processes run from, and builds the page to dist/page.',
  lint: 'npm run lint\n\nESLint, then the directions of imports.',
  typecheck: 'npm run typecheck\n\nThe types alone, of the page too.',
  servers: 'npm run servers\n\nBuilds the NATS, S3 and Prometheus servers that tests and trials run against; prints where they are.',
  test: `npm test [-- ARGUMENTS]\n\nTypes, lint, import directions, style and compatibility of the wire, then the tests of ${everydayProjects.join(', ')}. ${toVitest}\nOne file without the checks before it: npx vitest run tests/unit/cli/summary.test.ts -t "tells how long"`,
  'test:simulation': `npm run test:simulation [-- --seeds N --start S]\n\nThe deterministic simulation at length: N runs from seed S on.`,
  docs: 'npm run docs\n\nWrites the pages of docs/reference from the code.',
  'test:browser': `npm run test:browser [-- ARGUMENTS]\n\nThe dashboard on a real run, and exported models where they are used: their page in a real Chromium (CHROMIUM names it), SavedModel and ONNX in TensorFlow and ONNX Runtime for Python. ${toVitest}`,
  'test:chaos': `npm run test:chaos [-- ARGUMENTS]\n\nReal processes, killed, stopped and cut off. ${toVitest}`,
};
const asksForHelp = (args) => args.some((arg) => arg === '--help' || arg === '-h');

function options(args, known) {
  try {
    return parseArgs({ args, options: known, allowPositionals: true });
  } catch (error) {
    throw new SetupError(error.message, `Known here: ${Object.keys(known).map((name) => `--${name}`).join(', ')}.`, { exit: exitCode.usage });
  }
}

function wholeNumber(name, text, least) {
  if (/^\d+$/.test(text) && Number(text) >= least && Number.isSafeInteger(Number(text))) return text;
  throw new SetupError(`${name} ${text} is not a whole number of at least ${least}.`, `Example: npm run test:simulation -- --seeds 1000 --start 0`, { exit: exitCode.usage });
}

/**
 * One benchmark or experiment: a module with `description` and `run(args)`. Without a name, the list of them.
 * @returns {Promise<number | undefined>}
 */
async function experiment(command, folder, [name, ...args]) {
  const names = fs.existsSync(path.join(root, folder))
    ? fs.readdirSync(path.join(root, folder), { withFileTypes: true }).filter((entry) => entry.isFile() && /^[a-z0-9-]+\.ts$/.test(entry.name)).map((entry) => entry.name.slice(0, -3)).sort()
    : [];
  if (name !== undefined && !names.includes(name)) {
    throw new SetupError(`There is no ${folder}/${name}.ts.`, `npm run ${command} lists what there is: ${names.join(', ') || 'nothing yet'}.`, { exit: exitCode.usage });
  }
  await setUp(everything);
  const load = (each) => import(pathToFileURL(path.join(root, 'dist', folder, `${each}.js`)).href);
  if (name !== undefined) {
    const module = await load(name);
    process.removeListener('SIGINT', onInterrupt);
    await module.run(args);
    return undefined;
  }
  if (names.length === 0) process.stdout.write(`There is nothing in ${folder}/ yet.\n`);
  const width = Math.max(0, ...names.map((each) => each.length));
  for (const each of names) {
    const module = await load(each);
    // A file of helpers has neither; it is not an experiment.
    if (typeof module.run === 'function') process.stdout.write(`${each.padEnd(width)}  ${module.description ?? ''}\n`);
  }
  return 0;
}

let waitsForChild = false;

/** Everything set-up does is safe to leave at any point. Under a check, its program gets the same signal and ends by itself. */
function onInterrupt() {
  if (waitsForChild) return;
  process.stderr.write('\nInterrupted. Running the command again goes on from here.\n');
  process.exit(exitCode.interrupted);
}

/** @param {string[]} argv the command and its arguments */
export async function main([command, ...args]) {
  process.on('SIGINT', onInterrupt);
  if (command === undefined || !Object.hasOwn(commands, command)) {
    process.stderr.write(`alumnus: ${command === undefined ? 'a command is missing' : `there is no command ${command}`}. Known are: ${Object.keys(commands).join(', ')}.\n`);
    process.exitCode = exitCode.usage;
    return;
  }
  if (Object.hasOwn(help, command) && asksForHelp(args)) {
    process.stdout.write(`${help[command]}\n`);
    return;
  }
  waitsForChild = ['test', 'test:simulation', 'test:chaos', 'test:browser', 'docs', 'lint', 'typecheck'].includes(command);
  try {
    const code = await commands[command](args);
    if (code !== undefined) process.exitCode = code;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    if (error.detail) process.stderr.write(`${error.detail}\n\n`);
    process.stderr.write(`alumnus: ${error.message} ${error.remedy}\n`);
    process.exitCode = error.exit;
  }
}
