/**
 * A program of its own: the labels most worth a person's look, and a person's labels as labeled images. `alumnus review` starts it, because label tables and shards are the worker's.
 * Usage: node review.js --store URL, on stdin `{"history":…,"queue":{iteration,most,images}}` or `{"history":…,"answers":[…],"dataset":NAME or nothing}`. Writes lines of JSON:
 * `{"progress":{done,total,label}}`, then a `{"row":…}` each, or `{"reviewed":…}`. Ends with the error table's code and a sentence of it on stderr.
 */
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import { answer, tell } from '../proto/program.ts';
import type { ReviewAnswer } from '../proto/told.ts';
import { openStore } from '../store/index.ts';
import { importReview, reviewQueue } from './data/index.ts';

interface Request {
  readonly history: unknown;
  readonly queue?: { readonly iteration?: number; readonly most: number; readonly images: string };
  readonly answers?: readonly ReviewAnswer[];
  readonly dataset?: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' } } });
  const { history: told, queue, answers = [], dataset } = JSON.parse(await text(process.stdin)) as Request;
  const store = await openStore(values.store, { create: false });
  const history = RunHistory.fromJSON(told);
  const onProgress = (done: number, total: number, label: string): void => tell({ progress: { done, total, label } });
  if (queue !== undefined) for (const row of await reviewQueue({ store, history, iteration: queue.iteration, most: queue.most, images: queue.images, onProgress })) tell({ row });
  else tell({ reviewed: await importReview({ store, history, answers, dataset, onProgress }) });
}

answer(main);
