/**
 * A program of its own: tells a run's history out of the object store. `explain` and `model` of the command line start it, since the command
 * line folds no facts. Usage: node history-main.js --store URL, a HistoryRequest as JSON on stdin. Writes lines of JSON: `{"objects":N}` while it
 * looks for a model, at the end `{"history":…}`. Ends with the error table's code and a sentence of it on stderr.
 */
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { RunHistory } from '../proto/gen/alumnus/v1/history.ts';
import { answer, tell } from '../proto/program.ts';
import { openStore } from '../store/index.ts';
import { readHistory, type HistoryRequest } from './history.ts';

/** A listing is told of at each of so many objects. */
const OBJECTS_A_LINE = 1_000;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' } } });
  const request = JSON.parse(await text(process.stdin)) as HistoryRequest;
  const store = await openStore(values.store, { create: false });
  const history = await readHistory(store, request, (objects) => {
    if (objects % OBJECTS_A_LINE === 0) tell({ objects });
  });
  tell({ history: RunHistory.toJSON(history) });
}

answer(main);
