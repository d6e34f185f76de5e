/** The journal as JavaScript in a folder of its own, for programs that a test runs and kills: they have no test runner to read TypeScript. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../../..');
const door = join(root, 'coordinator/journal/index.ts');
let compiled: string | undefined;

/** @returns the address to import the journal's door from. */
export function compileJournal(folder: string): string {
  if (compiled !== undefined) return compiled;
  const out = join(folder, 'compiled');
  const beside = (source: string): string => join(out, relative(root, source).replace(/\.ts$/, '.js'));
  // The door and all that it reaches by relative imports.
  const sources = new Set([door]);
  for (const source of sources) {
    const text = readFileSync(source, 'utf8');
    for (const { fileName } of ts.preProcessFile(text).importedFiles) if (fileName.startsWith('.')) sources.add(resolve(dirname(source), fileName));
    const { outputText } = ts.transpileModule(text, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, rewriteRelativeImportExtensions: true, verbatimModuleSyntax: true } });
    mkdirSync(dirname(beside(source)), { recursive: true });
    writeFileSync(beside(source), outputText);
  }
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(join(root, 'node_modules'), join(out, 'node_modules'));
  compiled = pathToFileURL(beside(door)).href;
  return compiled;
}
