/** The worked example of docs/models.md, "Adding a model": as the page has it, it is compiled by the repository's own rules, and its parameters are those that one counts by hand. */
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { declaringLayers } from '../../../recipe/models/layers.ts';
import * as modelFile from '../../../recipe/models/model.ts';
import { blocksOf, root } from '../../harness/docs.ts';

/** Where the page says that it goes. */
const file = join(root, 'recipe/models/linear.ts');
const source = blocksOf('docs/models.md').find(({ language, text }) => language === 'ts' && text.includes('export const linear'))?.text ?? '';

test('a model of one file compiles where it belongs', () => {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as { config: object };
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ['x.ts'] }, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const own = ts.createSourceFile(file, source, ts.ScriptTarget.ESNext, true);
  const { getSourceFile, fileExists } = host;
  host.getSourceFile = (name, ...rest) => (name === file ? own : getSourceFile.call(host, name, ...rest));
  host.fileExists = (name) => name === file || fileExists.call(host, name);
  const program = ts.createProgram([file], { ...options, noEmit: true }, host);
  expect([...program.getSyntacticDiagnostics(own), ...program.getSemanticDiagnostics(own)].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
});

test('and has the parameters that it says', () => {
  const { outputText } = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } });
  const exported: { linear?: modelFile.Model } = {};
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the page's own text, which imports model.ts and nothing else
  (new Function('exports', 'require', outputText) as (exports: object, require: (name: string) => unknown) => void)(exported, (name) => {
    expect(name).toBe('./model.ts');
    return modelFile;
  });
  const model = exported.linear!;
  const { layers, parameters } = declaringLayers();
  const logits = model.build(layers, [8, 8, 3], { patch: 4, filters: 5, dropout: 0 }, 7);
  expect(logits).toEqual([7]);
  // Patches of 4 x 4 x 3 seen by 5 filters, 2 x 2 of them; 20 numbers and a bias for each of 7 classes.
  expect(parameters.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0)).toBe(4 * 4 * 3 * 5 + 20 * 7 + 7);
  expect(modelFile.rangeProblem(model.options['patch']!, 3)).toBe('must be one of 1, 2, 4');
});
