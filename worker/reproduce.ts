/**
 * A program of its own: does accepted tasks again and compares digests. `alumnus model reproduce` starts it, because it needs TensorFlow, which the
 * command line never loads. Usage: node reproduce.js --store URL --scratch FOLDER [--threads N] (default as the accepted results' records tell), `{"tasks":[AcceptedTask,…]}` on stdin; the folder is
 * its caller's to remove. Writes lines of JSON: `{"progress":{done,total,label}}`, and `{"reproduction":…}` of each task. Ends with the error table's code
 * and a sentence of it on stderr.
 */
import { rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { AcceptedTask } from '../proto/gen/alumnus/v1/history.ts';
import { answer, tell } from '../proto/program.ts';
import { openStore, type ObjectStore } from '../store/index.ts';
import { machineThatDid, reproduce } from './reproduction.ts';
import { machineOf } from './tasks/index.ts';
import { loadTensorFlow } from './tensorflow/index.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' }, scratch: { type: 'string', default: '' }, threads: { type: 'string', default: '0' } } });
  const { tasks } = JSON.parse(await text(process.stdin)) as { tasks: unknown[] };
  const from = await openStore(values.store, { create: false });
  const accepted = tasks.map((each) => AcceptedTask.fromJSON(each));
  const threads = Number(values.threads) || await threadsThatDid(from, accepted);
  // A selection is cut without a device.
  if (accepted.some(({ task }) => task?.spec?.$case !== 'select')) loadTensorFlow({ threads });
  tell({ machine: machineOf(threads) });
  for (const [at, each] of accepted.entries()) {
    const folder = join(values.scratch, `store-${at}`);
    const into = await openStore(pathToFileURL(folder).href);
    const label = `${each.task?.spec?.$case ?? ''} ${each.task?.subject ?? ''}`;
    tell({ progress: { done: 0, total: 0, label } });
    tell({ reproduction: await reproduce({
      from, into, cacheFolder: join(values.scratch, 'cache'), signal: new AbortController().signal,
      progress: ({ done, total, unit }) => tell({ progress: { done, total, label: `${label}, ${unit}` } }),
    }, each) });
    // Compared and not needed any more: a large set's labels would not fit beside one another.
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of the last task of which a record tells, a training where there is one; else all cores. */
async function threadsThatDid(from: ObjectStore, accepted: readonly AcceptedTask[]): Promise<number> {
  for (const each of [...accepted].reverse()) {
    const machine = await machineThatDid(from, each);
    if (machine !== undefined) return machine.threads;
  }
  return availableParallelism();
}

answer(main);
