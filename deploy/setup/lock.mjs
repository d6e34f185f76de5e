/**
 * One set-up at a time for each thing that is being set up. The lock is a listening socket with an abstract name, which
 * the kernel releases when its holder ends in whatever way, so there is no stale lock to recognize.
 *
 * Invariants:
 * 1. At most one live process of this user on this machine holds a name. (Machines that share a cache over a network
 *    are not kept apart; there, results still appear only by rename.)
 * 2. A holder that was killed may leave a child behind which still writes (npm does not notice). The child is on record,
 *    and the next holder waits for it before it starts.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processStart } from './process.mjs';
import { say } from './progress.mjs';

const orphanPollMs = 200;

function socketName(subject) {
  const digest = createHash('sha256').update(subject).digest('hex').slice(0, 32);
  return `\0alumnus-setup-${process.getuid?.() ?? 0}-${digest}`;
}

function listen(name) {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.write(`${process.pid}\n`);
      socket.unref();
    });
    server.unref();
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen(name, () => resolve(server));
  });
}

/** Resolves when the present holder is gone (or was gone already). */
function untilReleased(name, onHolder) {
  return new Promise((resolve) => {
    const socket = net.connect(name);
    socket.once('data', (data) => onHolder(String(data).trim()));
    socket.on('error', () => {});
    socket.once('close', () => resolve());
  });
}

/**
 * @template T
 * @param {string} subject what must not be set up twice at once: a path
 * @param {string} recordFile where the running child is put on record
 * @param {(onChild: (pid: number) => void) => Promise<T>} work `onChild` is told of each child that outlives us dangerously
 * @returns {Promise<T>}
 */
export async function withLock(subject, recordFile, work) {
  const name = socketName(subject);
  const sockets = new Set();
  let server = await listen(name);
  let told = false;
  while (server === undefined) {
    await untilReleased(name, (pid) => {
      if (!told) say(`  waiting for another set-up (process ${pid}) …`);
      told = true;
    });
    server = await listen(name);
  }
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  try {
    await untilOrphanEnds(recordFile);
    return await work((pid) => {
      fs.mkdirSync(path.dirname(recordFile), { recursive: true });
      fs.writeFileSync(recordFile, JSON.stringify({ pid, start: processStart(pid) ?? '' }));
    });
  } finally {
    fs.rmSync(recordFile, { force: true });
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

async function untilOrphanEnds(recordFile) {
  let record;
  try {
    record = JSON.parse(fs.readFileSync(recordFile, 'utf8'));
  } catch {
    return;
  }
  if (processStart(record.pid) !== record.start) return;
  say(`  waiting for process ${record.pid}, which an interrupted set-up left behind …`);
  while (processStart(record.pid) === record.start) await sleep(orphanPollMs);
}
