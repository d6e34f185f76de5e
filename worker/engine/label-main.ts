/** The program of the label thread. Started by label-thread.ts alone. */
import { parentPort, workerData } from 'node:worker_threads';
import { decoders } from '../data/index.ts';
import { serveLabels, type LabelEndOptions } from './label-end.ts';
import { measure } from './measuring.ts';
import type { ToLabelThread } from './messages.ts';

if (parentPort !== null) {
  const [port, options] = [parentPort, workerData as LabelEndOptions];
  serveLabels(port, options);
  if (options.measures === true) measure((message) => port.postMessage(message), undefined);
  // Those that decode end by themselves first: torn down with this thread they could abort the process (decoders.ts).
  parentPort.on('message', ({ kind }: ToLabelThread) => {
    if (kind === 'end') void decoders.close().then(() => process.exit());
  });
}
