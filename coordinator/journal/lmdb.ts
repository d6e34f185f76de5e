/**
 * The embedded journal: one LMDB environment in a folder of the coordinator's home. It also keeps who leads, since on
 * one machine the file is what two coordinators could contend for: `openEmbedded` takes the folder for this process and
 * raises the term, in one transaction.
 */
import { readFileSync } from 'node:fs';
import { mkdir, statfs, open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import { SnapshotRef } from '../../proto/gen/alumnus/v1/record.ts';
import { decodeGroup, encodeGroup, lastOf as lastOfGroup } from './group.ts';
import type { Journal } from './journal.ts';

/** Address space, not disk: the file grows with what is written. Enough for a hundred million facts. */
const MAP_BYTES = 64 * 1024 ** 3;
/** LMDB would take more; a coordinator that holds every shard of every run in memory would not. */
const FACT_BYTES_MAX = 64 * 1024 ** 2;
/** A commit writes a few pages; with less than this left it is the disk that failed it. */
const FREE_BYTES_MIN = 64 * 1024;

/** Where LMDB's file begins: its magic number lies behind the first page's header, after which come version and sizes. */
const MAGIC = { offset: 24, bytes: Buffer.from('dec0efbe', 'hex') };

interface Owner {
  readonly term: number;
  /** 0 where the last owner handed the folder back. */
  readonly pid: number;
  /** Tells a process from a later one of the same id. */
  readonly startedAt: string;
}


/** When a process started, in the kernel's ticks; empty where it is gone or the system doesn't say. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(owner: Owner): boolean {
  if (owner.pid === 0) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
  return owner.startedAt === startOf(owner.pid);
}

/** LMDB maps whatever lies there and reads on; a file that isn't its own ends the process by a signal, without a word. */
async function mustBeLmdb(folder: string): Promise<void> {
  const file = await openFile(join(folder, 'data.mdb')).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return undefined;
    throw thrown;
  });
  if (file === undefined) return;
  try {
    const start = Buffer.alloc(MAGIC.offset + MAGIC.bytes.length);
    const { bytesRead } = await file.read(start, 0, start.length, 0);
    if (bytesRead > 0 && !start.subarray(MAGIC.offset).equals(MAGIC.bytes)) throw new AlumnusError('JOURNAL_UNREADABLE', 'its data.mdb is not a journal', { where: folder });
  } finally {
    await file.close();
  }
}

/** @throws AlumnusError HOME_IN_USE where a living process leads here, STORE_UNWRITABLE, JOURNAL_UNREADABLE. */
export async function openEmbedded(folder: string): Promise<Journal> {
  let root: RootDatabase<Buffer, string>;
  try {
    await mkdir(folder, { recursive: true });
    await mustBeLmdb(folder);
    // Transactions are grouped by the leader. The library's own batches leave a promise behind that nobody can wait for,
    // and on a full disk its rejection would end the process before the sentence that says why.
    root = open<Buffer, string>({ path: folder, mapSize: MAP_BYTES, maxDbs: 3, encoding: 'binary', compression: false, eventTurnBatching: false });
  } catch (thrown) {
    const error = toAlumnusError(thrown, folder);
    throw error.code === 'INTERNAL' ? new AlumnusError('JOURNAL_UNREADABLE', error.message, { where: folder, cause: thrown }) : error;
  }
  const groups = root.openDB<Buffer, number>('groups', { encoding: 'binary' });
  const leader = root.openDB<Owner, string>('leader', { encoding: 'json' });
  const snapshots = root.openDB<Buffer, string>('snapshots', { encoding: 'binary' });
  const readSnapshot = (): SnapshotRef | undefined => {
    const bytes = snapshots.get('newest');
    return bytes === undefined ? undefined : SnapshotRef.decode(bytes);
  };
  const readOwner = (): Owner | undefined => leader.get('owner');

  const taken = await root.transaction((): Owner | { busy: Owner } => {
    const before = readOwner();
    if (before !== undefined && before.pid !== process.pid && isAlive(before)) return { busy: before };
    const owner: Owner = { term: (before?.term ?? 0) + 1, pid: process.pid, startedAt: startOf(process.pid) };
    leader.put('owner', owner).catch(() => undefined);
    return owner;
  }).catch(async (failed: unknown) => {
    throw await storeError(failed, folder);
  });
  await root.flushed;
  if ('busy' in taken) {
    await root.close();
    throw new AlumnusError('HOME_IN_USE', `the coordinator of process ${taken.busy.pid} leads here`, { where: folder });
  }
  let { term } = taken;
  let hasBegun = false;

  /** Whoever comes next need not wait for this process to end; the term stays. */
  const handBack = async (): Promise<void> => {
    try {
      await root.transaction(() => {
        // As in append: on a full disk this promise rejects beside the transaction's, and nobody else would hold it.
        if (readOwner()?.term === term) leader.put('owner', { term, pid: 0, startedAt: '' }).catch(() => undefined);
      });
    } catch {
      // A full disk: then the folder is taken from this process when it has ended.
    }
    await root.close();
  };

  const lastOf = (): number => {
    const [last] = [...groups.getRange({ reverse: true, limit: 1 })];
    if (last === undefined) return readSnapshot()?.sequence ?? 0;
    const group = decodeGroup(last.value, folder);
    return lastOfGroup(group);
  };
  let lastSequence: number;
  try {
    lastSequence = lastOf();
  } catch (thrown) {
    await handBack();
    throw thrown;
  }

  const journal: Journal = {
    description: `lmdb:${folder}`,
    factBytesMax: FACT_BYTES_MAX,
    get lastSequence() {
      return lastSequence;
    },
    async begin() {
      let deposed: number | undefined;
      try {
        await root.transaction(() => {
          const owner = readOwner();
          if (owner?.term !== term) deposed = owner?.term ?? 0;
          // The first term began when the folder was taken.
          else if (hasBegun) leader.put('owner', { ...owner, term: term + 1 }).catch(() => undefined);
        });
        await root.flushed;
      } catch (failed) {
        throw await storeError(failed, folder);
      }
      if (deposed !== undefined) throw new AlumnusError('JOURNAL_CONFLICT', `term ${term} is deposed by term ${deposed}`, { where: folder });
      if (hasBegun) term += 1;
      hasBegun = true;
      return term;
    },
    async append(expectedSequence, appendTerm, events) {
      invariant(events.length > 0, 'a group holds facts');
      const firstSequence = expectedSequence + 1;
      const bytes = Buffer.from(encodeGroup({ term: appendTerm, firstSequence, events: [...events] }));
      let refused: string | undefined;
      try {
        await root.transaction(() => {
          // Read inside the transaction: another process may have written since.
          const owner = readOwner();
          const last = lastOf();
          if (owner?.term !== appendTerm) refused = `term ${appendTerm} is deposed by term ${owner?.term ?? 0}`;
          else if (last !== expectedSequence) refused = `the journal is at ${last}, not at ${expectedSequence}`;
          // A commit that fails rejects this promise beside the transaction's, which is the one that we wait for.
          else groups.put(firstSequence, bytes).catch(() => undefined);
        });
        await root.flushed;
      } catch (failed) {
        throw await storeError(failed, folder);
      }
      if (refused !== undefined) throw new AlumnusError('JOURNAL_CONFLICT', refused, { where: folder });
      lastSequence = expectedSequence + events.length;
      return lastSequence;
    },
    async *read(sequence) {
      const covered = readSnapshot()?.sequence ?? 0;
      if (sequence < covered) throw new AlumnusError('JOURNAL_UNREADABLE', `facts up to ${covered} lie in a snapshot, and those after ${sequence} were asked for`, { where: folder });
      let expected: number | undefined;
      for (const { key, value } of groups.getRange({})) {
        const group = decodeGroup(value, folder);
        // The first may begin within what a snapshot covers.
        const isNext = expected === undefined ? key <= covered + 1 : key === expected;
        if (group.firstSequence !== key || !isNext) throw new AlumnusError('JOURNAL_UNREADABLE', `facts are missing before sequence ${key}`, { where: folder });
        expected = key + group.events.length;
        if (expected > sequence + 1) yield group;
      }
    },
    snapshot: () => Promise.resolve(readSnapshot()),
    async truncate(snapshot) {
      let refused: string | undefined;
      try {
        await root.transaction(() => {
          const owner = readOwner();
          if (owner?.term !== term) {
            refused = `term ${term} is deposed by term ${owner?.term ?? 0}`;
            return;
          }
          if (snapshot.sequence <= (readSnapshot()?.sequence ?? 0)) return;
          // As in append: these promises reject beside the transaction's where the commit fails.
          snapshots.put('newest', Buffer.from(SnapshotRef.encode(snapshot).finish())).catch(() => undefined);
          for (const { key, value } of groups.getRange({ end: snapshot.sequence + 1 })) {
            if (lastOfGroup(decodeGroup(value, folder)) <= snapshot.sequence) groups.remove(key).catch(() => undefined);
          }
        });
        await root.flushed;
      } catch (failed) {
        throw await storeError(failed, folder);
      }
      if (refused !== undefined) throw new AlumnusError('JOURNAL_CONFLICT', refused, { where: folder });
    },
    close: handBack,
  };
  return journal;
}

/** lmdb says of a failed commit only that it failed, and hands over the cause as a promise that is rejected with it. */
async function commitError(failed: unknown): Promise<unknown> {
  if (!(failed instanceof Error && 'commitError' in failed)) return failed;
  try {
    await failed.commitError;
    return failed;
  } catch (cause) {
    return cause;
  }
}

/** What a failed commit is to a person: LMDB says little, so the device is asked whether it is full. */
async function storeError(failed: unknown, folder: string): Promise<AlumnusError> {
  const cause = await commitError(failed);
  const message = cause instanceof Error ? cause.message : String(cause);
  const { bavail, bsize } = await statfs(folder);
  const full = /MDB_MAP_FULL|No space left|ENOSPC/.test(message) || bavail * bsize < FREE_BYTES_MIN;
  return full ? new AlumnusError('STORE_FULL', 'the journal cannot grow', { where: folder, cause }) : toAlumnusError(cause, folder);
}
