/**
 * The engine's process: does the tasks that its worker hands it. Loads and decodes for the next task while the device
 * works on the present one; the device itself is used by one task at a time. Label tasks are done on a thread of their own,
 * for which this one predicts (label-thread.ts).
 */
import { parseArgs } from 'node:util';
import { toAlumnusError } from '../../proto/errors.ts';
import { machineOf } from '../tasks/index.ts';
import { loadTensorFlow } from '../tensorflow/index.ts';
import { Attempts, deviceInTurn } from './attempts.ts';
import { LabelThread } from './label-thread.ts';
import { measure } from './measuring.ts';
import type { FromEngine, ToEngine } from './messages.ts';
import { Turnstile } from './turnstile.ts';

const { values } = parseArgs({ options: { threads: { type: 'string', default: '1' }, cache: { type: 'string', default: '' }, worker: { type: 'string', default: '' }, measure: { type: 'boolean', default: false } } });
const threads = Number(values.threads);
const machine = machineOf(threads);

const send = (message: FromEngine): void => void process.send?.(message);
const turnstile = new Turnstile();
const [cacheFolder, workerId] = [values.cache, values.worker];
const attempts = new Attempts({ cacheFolder, workerId, machine, send, deviceOf: ({ task }, signal) => deviceInTurn(turnstile, task.spec?.$case ?? 'none', signal) });
const labels = new LabelThread({ cacheFolder, workerId, machine, send, turnstile, measures: values.measure });
if (values.measure) measure(send, () => turnstile.inside);

process.on('message', (message: ToEngine) => {
  switch (message.kind) {
    case 'run':
      if (message.task.spec?.$case === 'label') labels.run(message);
      else void attempts.run(message);
      return;
    case 'cancel':
      attempts.cancel(message.id);
      labels.cancel(message.id);
      return;
    case 'ping':
      labels.ping();
  }
});
// The worker is gone, whether it stopped or was killed: nobody would take the results.
process.on('disconnect', () => process.exit(0));
// A Ctrl-C reaches the whole group; the worker decides what becomes of the engine.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
send({ kind: 'ready' });
// The library takes a second to load: do it while the first lease is on its way. A task that needs it says what is wrong.
setImmediate(() => {
  try {
    loadTensorFlow({ threads });
  } catch (thrown) {
    send({ kind: 'note', id: undefined, line: toAlumnusError(thrown).sentence });
  }
});
