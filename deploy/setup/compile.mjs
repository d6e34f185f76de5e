/**
 * dist/: the sources compiled by tsc, beside them what they read as it is (YAML), and in dist/page the page, built by Vite from dashboard/. Whether it is current is told by a stamp (paths, sizes, modification times), which
 * costs a few milliseconds and is written last: an interrupted build has none, and is done again.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { SetupError } from './errors.mjs';
import { lastLines, run } from './process.mjs';
import { step } from './progress.mjs';

const stampFile = 'dist/.stamp';
const configs = ['tsconfig.json', 'tsconfig.build.json'];
const pageFolder = 'dashboard';
const pageOutput = 'dist/page';
const errorLinesShown = 40;

function sourceFolders(root) {
  return JSON.parse(fs.readFileSync(path.join(root, 'tsconfig.build.json'), 'utf8')).include;
}

/** Read as they are by the code beside them. */
const asItIs = /\.yaml$/;

/** Every source of the folders that are compiled, relative to the root, in a fixed order. */
function sourceFiles(root) {
  const files = [];
  for (const folder of sourceFolders(root)) {
    const absolute = path.join(root, folder);
    if (!fs.existsSync(absolute)) continue;
    for (const entry of fs.readdirSync(absolute, { recursive: true })) {
      if (entry.endsWith('.ts') || asItIs.test(entry)) files.push(path.join(folder, entry));
    }
  }
  return files.sort();
}

const hasPage = (root) => fs.existsSync(path.join(root, pageFolder, 'index.html'));

/** Whatever lies with the page is part of it. */
function pageFiles(root) {
  if (!hasPage(root)) return [];
  const entries = fs.readdirSync(path.join(root, pageFolder), { recursive: true, withFileTypes: true });
  return ['node_modules/vite/package.json', ...entries.filter((entry) => entry.isFile()).map((entry) => path.relative(root, path.join(entry.parentPath, entry.name))).sort()];
}

function stamp(root) {
  const hash = createHash('sha256');
  for (const name of [...configs, 'node_modules/typescript/package.json', ...sourceFiles(root), ...pageFiles(root)]) {
    const { size, mtimeMs } = fs.statSync(path.join(root, name));
    hash.update(`${name}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest('hex');
}

export function buildReady(root) {
  try {
    return fs.readFileSync(path.join(root, stampFile), 'utf8') === stamp(root);
  } catch {
    return false;
  }
}

/** @param {(pid: number) => void} onChild */
export async function build(root, onChild) {
  await step('build (tsc, Vite)', async () => {
    // Taken before, so that a source that changes meanwhile makes the build stale again.
    const current = stamp(root);
    fs.rmSync(path.join(root, stampFile), { force: true });
    const outcome = await run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '--project', 'tsconfig.build.json', '--pretty', 'false'], { cwd: root, onStart: onChild });
    if (outcome.code !== 0) {
      throw new SetupError('The sources do not compile.', 'Correct what the compiler names above.', { exit: 1, detail: lastLines(outcome.output, errorLinesShown) });
    }
    removeOrphans(root);
    if (hasPage(root)) await buildPage(root, onChild);
    for (const file of sourceFiles(root)) {
      if (asItIs.test(file)) fs.cpSync(path.join(root, file), path.join(root, 'dist', file));
    }
    fs.mkdirSync(path.join(root, 'dist'), { recursive: true });
    const temporary = path.join(root, `${stampFile}.${process.pid}`);
    fs.writeFileSync(temporary, current);
    fs.renameSync(temporary, path.join(root, stampFile));
  });
}

async function buildPage(root, onChild) {
  const outcome = await run(process.execPath, [path.join(root, 'node_modules/vite/bin/vite.js'), 'build', '--config', path.join(root, pageFolder, 'vite.config.mjs')], { cwd: root, onStart: onChild });
  if (outcome.code !== 0) throw new SetupError('The page cannot be built.', 'Correct what Vite names above.', { exit: 1, detail: lastLines(outcome.output, errorLinesShown) });
}

/** A source that was removed or renamed leaves its output behind, and something would go on importing it. */
function removeOrphans(root) {
  const dist = path.join(root, 'dist');
  if (!fs.existsSync(dist)) return;
  const sources = new Set(sourceFiles(root));
  for (const entry of fs.readdirSync(dist, { recursive: true })) {
    if (path.join('dist', entry).startsWith(pageOutput + path.sep)) continue;
    const source = entry.replace(/\.js(\.map)?$/, '.ts');
    if ((source !== entry || asItIs.test(entry)) && !sources.has(source)) fs.rmSync(path.join(dist, entry), { force: true });
  }
}
