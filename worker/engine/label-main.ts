/** The program of the label thread. Started by label-thread.ts alone. */
import { parentPort, workerData } from 'node:worker_threads';
import { decoders } from '../data/index.ts';
import { serveLabels, type LabelEndOptions } from './label-end.ts';
import type { ToLabelThread } from './messages.ts';

if (parentPort !== null) {
  serveLabels(parentPort, workerData as LabelEndOptions);
  // Those that decode end by themselves first: torn down with this thread they could abort the process (decoders.ts).
  parentPort.on('message', ({ kind }: ToLabelThread) => {
    if (kind === 'end') void decoders.close().then(() => process.exit());
  });
}
