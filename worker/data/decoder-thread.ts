/** The program of one decoding thread: images of a job to pixels, in the job's order. Started by decoders.ts alone. */
import { parentPort } from 'node:worker_threads';
import { decodeAll, END, type DecodeRequest, type DecodeReply } from './decoding.ts';

const port = parentPort;
port?.on('message', (request: DecodeRequest | typeof END) => {
  if (request === END) return port.close();
  void decodeAll(request).then((reply: DecodeReply) => port.postMessage(reply, reply.pixels === undefined ? [] : [reply.pixels]));
});
