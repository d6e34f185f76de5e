/**
 * `IndexTars`: an operator's tars, read by workers while the call is open. Who ends the call, or is gone, frees its tasks; a
 * leader that is one no more ends it with NOT_LEADER, and what is done lies in the store. Not for: what becomes of attempts
 * (coordinator/indexing.ts).
 */
import { randomBytes } from 'node:crypto';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { toAlumnusError, type AlumnusError } from '../../proto/errors.ts';
import type { IndexTarsProgress, IndexTarsRequest } from '../../proto/gen/alumnus/v1/operator.ts';
import { statusOf } from '../../proto/status.ts';
import type { Leader } from '../leader.ts';
import type { Leading } from '../node.ts';

/** Progress without a tar that is done is told this often… */
const PROGRESS_MS = 1_000;
/** …and tars that are done are told together, so close after one another. */
const TOLD_MS_MIN = 100;

export function indexTars(leading: Leading) {
  return (call: ServerWritableStream<IndexTarsRequest, IndexTarsProgress>): void => {
    let leader: Leader;
    try {
      leader = leading.leader();
    } catch (thrown) {
      call.emit('error', statusOf(toAlumnusError(thrown)));
      return;
    }
    const left = new Set(call.request.tars.keys());
    let done: number[] = [];
    let told: NodeJS.Timeout | undefined;
    let isOver = false;
    /** As in `watchRun`: who does not read is sent no further answer, since all would lie in our memory. */
    let isSending = false;
    const finish = (error?: AlumnusError): void => {
      if (isOver) return;
      isOver = true;
      stopListening();
      clearInterval(ticker);
      clearTimeout(told);
      leader.indexing.close(id);
      leader.touch();
      if (error === undefined) call.end();
      else call.emit('error', statusOf(error));
    };
    const tell = (): void => {
      told = undefined;
      if (isSending || isOver) return;
      isSending = true;
      call.write({ done, bytesUnderWay: leader.indexing.bytesUnderWay(id), workers: leader.scheduler.liveWorkers(leader.now()) }, () => {
        isSending = false;
        if (done.length > 0) tell();
      });
      done = [];
      if (left.size === 0) finish();
    };
    const id = leader.indexing.open(randomBytes(6).toString('hex'), call.request, {
      done: (at) => {
        left.delete(at);
        done.push(at);
        told ??= setTimeout(tell, TOLD_MS_MIN);
      },
      failed: (error) => finish(error),
    });
    const stopListening = leader.onChange(() => {
      if (leader.failure !== undefined) finish(leader.failure);
    });
    const ticker = setInterval(tell, PROGRESS_MS);
    call.on('cancelled', () => finish());
    call.on('close', () => finish());
    leader.touch();
    tell();
  };
}
