/**
 * A program of its own: tells of one sample what became of its label in each iteration. `alumnus explain sample` starts it, because the tables and
 * the rule of selection are the worker's. Usage: node explain.js --store URL, `{"history":…,"key":"…"}` on stdin. Writes lines of JSON:
 * `{"progress":{done,total,label}}`, at the end `{"sample":…}`. Ends with the error table's code and a sentence of it on stderr.
 */
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import { answer, tell } from '../proto/program.ts';
import { openStore } from '../store/index.ts';
import { explainSample } from './data/index.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' } } });
  const { history, key } = JSON.parse(await text(process.stdin)) as { history: unknown; key: string };
  const store = await openStore(values.store, { create: false });
  tell({ sample: await explainSample({ store, history: RunHistory.fromJSON(history), onProgress: (done, total, label) => tell({ progress: { done, total, label } }) }, key) });
}

answer(main);
