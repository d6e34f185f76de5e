/**
 * A program of its own: what the page shows of an iteration's labels. The coordinator starts it, since tables, tallies and images are the worker's. Usage: node labels.js --store URL,
 * `{"history":…,"iteration":N,"question":"histogram"|"gallery"}` on stdin. Writes one line of JSON: `{"histogram":…}` or `{"gallery":…}`. Ends with the error table's code and a sentence of it on stderr.
 */
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import { answer, tell } from '../proto/program.ts';
import { openStore } from '../store/index.ts';
import { labelGallery, labelHistogram } from './data/index.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' } } });
  const { history: told, iteration, question } = JSON.parse(await text(process.stdin)) as { history: unknown; iteration: number; question: 'histogram' | 'gallery' };
  const request = { store: await openStore(values.store, { create: false }), history: RunHistory.fromJSON(told), iteration };
  tell(question === 'histogram' ? { histogram: await labelHistogram(request) } : { gallery: await labelGallery(request) });
}

answer(main);
