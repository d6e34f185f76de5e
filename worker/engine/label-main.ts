/** The program of the label thread. Started by label-thread.ts alone. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveLabels, type LabelEndOptions } from './label-end.ts';

if (parentPort !== null) serveLabels(parentPort, workerData as LabelEndOptions);
