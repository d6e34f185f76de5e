/**
 * Which folder may import which (docs/contributing.md, "Layout and arrows"). tests/unit/setup proves that each rule bites.
 * A folder of the top level is entered by its index.ts only; proto/ask.ts, proto/errors.ts, proto/canonical.ts, proto/call.ts, proto/credentials.ts, proto/machine.ts, proto/outputs.ts, proto/page.ts, proto/program.ts, proto/record.ts, proto/stages.ts, proto/status.ts, proto/subjects.ts, proto/told.ts, proto/trace.ts, proto/version.ts and proto/gen/ are doors, too.
 */
const programs = '^(cli|coordinator|dashboard|worker)/';
const folders = '^(cli|coordinator|dashboard|dataset|proto|recipe|store|telemetry|worker)/';

/** Imports from `from` that stay within these folders, go to packages or to Node are fine; other folders of ours are not. */
function only(name, from, allowed, comment) {
  return { name, comment, severity: 'error', from: { path: `^${from}/` }, to: { path: folders, pathNot: `^(${[from, ...allowed].join('|')})(/|$)` } };
}

const pureFolders = '^coordinator/(run|scheduler)/';

module.exports = {
  forbidden: [
    { name: 'no-cycles', comment: 'Two files that import each other are one file, or three.', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolved', comment: 'The import leads nowhere.', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'programs-apart',
      comment: 'cli, dashboard, coordinator and worker talk over the wire and never import one another.',
      severity: 'error',
      from: { path: '^(cli|coordinator|dashboard|worker)/' },
      to: { path: programs, pathNot: '^$1/' },
    },
    only('proto-knows-nobody', 'proto', [], 'The wire and the error table stand alone.'),
    only('recipe-knows-proto-basics', 'recipe', ['proto/(ask|errors|canonical)\\.ts'], 'A recipe is checked without anything of ours but the error table and canonical JSON.'),
    only('store-knows-proto', 'store', ['proto'], 'The store knows the wire and nobody else.'),
    only('telemetry-knows-store-and-proto', 'telemetry', ['store', 'proto'], 'What a process tells of itself knows nothing of what the process is for.'),
    only('dataset-knows-store-and-proto', 'dataset', ['store', 'proto'], 'Data sets are kept in a store and know nobody else.'),
    only('dashboard-knows-proto', 'dashboard', ['proto'], 'The page knows the wire and nobody else.'),
    {
      name: 'dashboard-takes-types-alone',
      comment: 'The page runs in a browser: of ours it takes the types of proto, and what is there at run time is its own.',
      severity: 'error',
      from: { path: '^dashboard/' },
      to: { path: '^proto/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'folder-by-its-door',
      comment: 'Another folder is entered by its index.ts (or proto/ask.ts, proto/errors.ts, proto/canonical.ts, proto/call.ts, proto/credentials.ts, proto/machine.ts, proto/outputs.ts, proto/page.ts, proto/program.ts, proto/record.ts, proto/stages.ts, proto/status.ts, proto/subjects.ts, proto/told.ts, proto/trace.ts, proto/version.ts, proto/gen/).',
      severity: 'error',
      from: { path: '^([^/]+)/' },
      to: { path: folders, pathNot: ['^$1/', '^[^/]+/index\\.ts$', '^proto/(ask|errors|canonical|call|credentials|machine|outputs|page|program|record|stages|status|subjects|told|trace|version)\\.ts$', '^proto/gen/'] },
    },
    {
      name: 'pure-core-without-io',
      comment: 'coordinator/run and coordinator/scheduler decide; clock, disk and network come in as arguments.',
      severity: 'error',
      from: { path: pureFolders },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|assert)$' },
    },
    {
      name: 'pure-core-without-engines',
      comment: 'coordinator/run and coordinator/scheduler use pure packages only.',
      severity: 'error',
      from: { path: pureFolders },
      to: { path: ['@grpc/', 'node_modules/lmdb', 'node_modules/@nats', 'node_modules/nats', '@aws-sdk/', '@smithy/', 'node_modules/sharp', '@tensorflow/'] },
    },
    {
      name: 'pure-core-knows-proto-and-recipe',
      comment: 'coordinator/run and coordinator/scheduler know each other, the wire and the recipe.',
      severity: 'error',
      from: { path: pureFolders },
      to: { path: folders, pathNot: [pureFolders, '^proto/', '^recipe/'] },
    },
    {
      name: 'tensorflow-in-workers-only',
      comment: 'Only a worker loads TensorFlow: everything else starts in a fraction of a second.',
      severity: 'error',
      from: { path: '^(cli|coordinator|dashboard|dataset|proto|recipe|store|telemetry)/' },
      to: { path: '@tensorflow/' },
    },
    {
      name: 'sources-without-development-packages',
      comment: 'What runs in production is in dependencies.',
      severity: 'error',
      from: { path: folders },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    // What an interrupted set-up left, and what was compiled.
    exclude: { path: '^(proto/gen\\.[0-9]|dist/)' },
    enhancedResolveOptions: { extensions: ['.ts', '.tsx', '.js', '.mjs', '.cjs', '.json'], exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'] },
  },
};
