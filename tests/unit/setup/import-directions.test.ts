/** Each rule of .dependency-cruiser.cjs bites: a small tree breaks each once, and does beside it what is allowed. */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { root, temporaryFolder, write } from './checkout.ts';

const doors = ['cli', 'coordinator', 'dashboard', 'dataset', 'proto', 'recipe', 'store', 'telemetry', 'worker'];

/** File, what it imports, the rules that this breaks. */
const imports: [file: string, specifier: string, rules: string[]][] = [
  ['cli/to-coordinator.ts', '../coordinator/index.ts', ['programs-apart']],
  ['cli/to-worker.ts', '../worker/index.ts', ['programs-apart']],
  ['cli/to-dashboard.ts', '../dashboard/index.ts', ['programs-apart']],
  ['coordinator/to-worker.ts', '../worker/index.ts', ['programs-apart']],
  ['coordinator/to-cli.ts', '../cli/index.ts', ['programs-apart']],
  ['worker/to-coordinator.ts', '../coordinator/index.ts', ['programs-apart']],
  ['dashboard/to-worker.ts', '../worker/index.ts', ['dashboard-knows-proto', 'programs-apart']],
  ['dashboard/to-store.ts', '../store/index.ts', ['dashboard-knows-proto']],
  ['dashboard/to-proto.ts', '../proto/errors.ts', ['dashboard-takes-types-alone']],
  ['proto/to-recipe.ts', '../recipe/index.ts', ['proto-knows-nobody']],
  ['proto/to-store.ts', '../store/index.ts', ['proto-knows-nobody']],
  ['recipe/to-proto.ts', '../proto/index.ts', ['recipe-knows-proto-basics']],
  ['recipe/to-store.ts', '../store/index.ts', ['recipe-knows-proto-basics']],
  ['recipe/to-worker.ts', '../worker/index.ts', ['recipe-knows-proto-basics']],
  ['store/to-recipe.ts', '../recipe/index.ts', ['store-knows-proto']],
  ['store/to-dataset.ts', '../dataset/index.ts', ['store-knows-proto']],
  ['telemetry/to-dataset.ts', '../dataset/index.ts', ['telemetry-knows-store-and-proto']],
  ['dataset/to-recipe.ts', '../recipe/index.ts', ['dataset-knows-store-and-proto']],
  ['cli/past-the-door.ts', '../store/inner/part.ts', ['folder-by-its-door']],
  ['worker/tasks/past-the-door.ts', '../../proto/inner.ts', ['folder-by-its-door']],
  ['coordinator/run/disk.ts', 'node:fs', ['pure-core-without-io']],
  ['coordinator/run/network.ts', 'net', ['pure-core-without-io']],
  ['coordinator/scheduler/clock.ts', 'node:timers/promises', ['pure-core-without-io']],
  ['coordinator/run/lmdb.ts', 'lmdb', ['pure-core-without-engines']],
  ['coordinator/scheduler/grpc.ts', '@grpc/grpc-js', ['pure-core-without-engines']],
  ['coordinator/run/store.ts', '../../store/index.ts', ['pure-core-knows-proto-and-recipe']],
  ['coordinator/run/journal.ts', '../journal/index.ts', ['pure-core-knows-proto-and-recipe']],
  ['coordinator/tensors.ts', '@tensorflow/tfjs-node-gpu', ['tensorflow-in-workers-only']],
  ['cli/tensors.ts', '@tensorflow/tfjs-core', ['tensorflow-in-workers-only']],
  ['store/development.ts', 'fast-check', ['sources-without-development-packages']],
  ['worker/nowhere.ts', './nothing.ts', ['no-unresolved']],
  ['worker/egg.ts', './hen.ts', ['no-cycles']],
  // Said once a cycle, at the file that comes first.
  ['worker/hen.ts', './egg.ts', []],

  ['cli/fine.ts', '../dataset/index.ts', []],
  ['coordinator/fine.ts', '../recipe/index.ts', []],
  ['worker/fine.ts', '../store/index.ts', []],
  ['worker/tasks/fine.ts', '../deep/part.ts', []],
  ['worker/tensors.ts', '@tensorflow/tfjs-node-gpu', []],
  ['dataset/fine.ts', '../store/index.ts', []],
  ['telemetry/fine.ts', '../store/index.ts', []],
  ['store/fine.ts', '../proto/index.ts', []],
  ['recipe/fine.ts', '../proto/errors.ts', []],
  ['recipe/package.ts', 'zod', []],
  ['cli/generated.ts', '../proto/gen/lease.ts', []],
  ['coordinator/run/fine.ts', '../../proto/gen/lease.ts', []],
  ['coordinator/run/digest.ts', 'node:crypto', []],
  ['coordinator/scheduler/fine.ts', '../run/index.ts', []],
];

interface Report {
  summary: { violations: { from: string; rule: { name: string } }[] };
}

it('every rule of the import directions bites, and nothing else does', () => {
  const folder = temporaryFolder();
  const nothing = 'export {};\n';
  write(folder, Object.fromEntries(doors.map((name) => [`${name}/index.ts`, nothing])));
  write(folder, Object.fromEntries(['proto/errors.ts', 'proto/inner.ts', 'proto/gen/lease.ts', 'store/inner/part.ts', 'worker/deep/part.ts', 'coordinator/journal/index.ts', 'coordinator/run/index.ts'].map((name) => [name, nothing])));
  write(folder, Object.fromEntries(imports.map(([file, specifier]) => [file, `import ${JSON.stringify(specifier)};\n`])));
  fs.symlinkSync(fs.realpathSync(path.join(root, 'node_modules')), path.join(folder, 'node_modules'));
  for (const name of ['package.json', 'tsconfig.json']) fs.copyFileSync(path.join(root, name), path.join(folder, name));

  const cruiser = path.join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = path.join(root, '.dependency-cruiser.cjs');
  const result = spawnSync(process.execPath, [cruiser, '--config', config, '--output-type', 'json', ...doors], { cwd: folder, encoding: 'utf8', maxBuffer: 64e6 });
  const violations = (JSON.parse(result.stdout) as Report).summary.violations;
  const found = Object.fromEntries(imports.map(([file]) => [file, violations.filter((each) => each.from === file).map((each) => each.rule.name).sort()]));
  expect(found).toEqual(Object.fromEntries(imports.map(([file, , rules]) => [file, rules])));

  const rules = JSON.parse(execFileSync(process.execPath, ['-e', `process.stdout.write(JSON.stringify(require(${JSON.stringify(config)}).forbidden.map((rule) => rule.name)))`], { encoding: 'utf8' })) as string[];
  expect([...new Set(imports.flatMap(([, , broken]) => broken))].sort(), 'each rule has a case here').toEqual(rules.sort());
});
