/**
 * The label thread's end of its channel: does label tasks whole (shards, tables, records, with a store of its own) and asks the
 * engine's thread for nothing but predictions, some batches ahead. TensorFlow holds that thread while it predicts a batch, so whatever
 * waited there for a file or for the network would wait for a batch as well.
 * Not for: threads (label-thread.ts starts it); TensorFlow.
 * Invariants:
 *  1. Batches that are sent and not yet predicted are at most AHEAD_BYTES, or two.
 *  2. A prediction that nobody waits for any more is given up, so that the device is free.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { Machine } from '../../proto/gen/alumnus/v1/record.ts';
import { orAborted } from '../data/index.ts';
import type { Predict } from '../tasks/index.ts';
import { Attempts, type Device } from './attempts.ts';
import type { FromLabelThread, Port, ToLabelThread } from './messages.ts';

/** Of each of the worker's tasks. What this thread does between two batches (a table of 2,000 x 1,000 takes 0.1 s) must not empty the queue. */
const AHEAD_BYTES = 64 * 1024 ** 2;
/** Beyond, only memory is spent: images so small are predicted by the thousand in some milliseconds. */
const AHEAD_BATCHES_MAX = 64;

export interface LabelEndOptions {
  readonly cacheFolder: string;
  readonly workerId: string;
  readonly machine: Machine;
  /** Whether the thread tells what it takes; default: it does not. */
  readonly measures?: boolean | undefined;
  /** Default AHEAD_BYTES. */
  readonly aheadBytes?: number;
}

type Heard = Extract<ToLabelThread, { kind: 'predicted' | 'prediction-done' | 'prediction-failed' }>;

export function serveLabels(port: Port<FromLabelThread, ToLabelThread>, { aheadBytes = AHEAD_BYTES, ...options }: LabelEndOptions): void {
  const send = (message: FromLabelThread, transferred: readonly ArrayBuffer[] = []): void => port.postMessage(message, transferred);
  const predictions = new Map<number, (heard: Heard) => void>();
  const attempts = new Attempts({
    ...options, send,
    deviceOf({ id, storeUrl }, signal): Device {
      let heldMs = 0;
      const predict: Predict = async (spec, batches, take) => {
        const sent = { unanswered: 0, over: false };
        let wake: () => void = () => undefined;
        const end = new Promise<number>((resolve, reject) => {
          predictions.set(id, (heard) => {
            if (heard.kind === 'predicted') {
              sent.unanswered -= 1;
              take(heard.logProbabilities);
            } else {
              sent.over = true;
              if (heard.kind === 'prediction-done') {
                ({ heldMs } = heard);
                resolve(heard.predictMs);
              } else reject(errorOf(heard));
            }
            wake();
          });
        });
        end.catch(() => undefined);
        send({ kind: 'predict', id, storeUrl, spec });
        try {
          for await (const batch of batches) {
            if (sent.over) break;
            sent.unanswered += 1;
            // Now, since what is sent is gone from here.
            const ahead = Math.max(2, Math.min(AHEAD_BATCHES_MAX, Math.floor(aheadBytes / batch.images.byteLength)));
            send({ kind: 'batch', id, batch }, [batch.images.buffer as ArrayBuffer]);
            while (!sent.over && sent.unanswered >= ahead) await orAborted(new Promise<void>((resolve) => (wake = resolve)), signal);
          }
          send({ kind: 'last-batch', id });
          return await orAborted(end, signal);
        } catch (thrown) {
          send({ kind: 'give-up', id });
          throw thrown;
        } finally {
          predictions.delete(id);
        }
      };
      return { predict, heldMs: () => heldMs, onDevice: () => Promise.reject(new Error('invariant broken: the label thread has no device')) };
    },
  });
  port.on('message', (message) => {
    switch (message.kind) {
      case 'run':
        void attempts.run(message);
        return;
      case 'cancel':
        attempts.cancel(message.id);
        return;
      case 'ping':
        send({ kind: 'pong' });
        return;
      case 'end':
        // The thread's own matter (label-main.ts).
        return;
      default:
        predictions.get(message.id)?.(message);
    }
  });
}

function errorOf({ code, message, where, stack }: Extract<Heard, { kind: 'prediction-failed' }>): AlumnusError {
  const error = new AlumnusError(code, message, { where });
  if (stack !== undefined) error.stack = stack;
  return error;
}
