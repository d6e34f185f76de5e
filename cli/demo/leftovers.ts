/**
 * What a demo that was killed left running: found by its record, ended by id, and only where the process's own command
 * line proves that it is the one recorded. A process id alone proves nothing: it may long be another's.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { AlumnusError } from '../../proto/errors.ts';
import { programPath } from '../processes.ts';
import { endProcess, recordFile, type FleetRecord } from './fleet.ts';

const STOP_MS = 8_000;

/** The arguments that a process was started with; undefined when there is none or it cannot be told. */
async function commandLine(pid: number): Promise<string | undefined> {
  try {
    if (existsSync('/proc/self/cmdline')) return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
    return (await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)])).stdout;
  } catch {
    return undefined;
  }
}

function readRecord(home: string): FleetRecord | undefined {
  try {
    const value = JSON.parse(readFileSync(recordFile(home), 'utf8')) as Partial<FleetRecord>;
    if (!Number.isInteger(value.demo) || typeof value.address !== 'string' || !Array.isArray(value.processes)) return undefined;
    return value as FleetRecord;
  } catch {
    return undefined;
  }
}

/**
 * Ends what an earlier demo of this home left behind, workers first.
 * @throws AlumnusError HOME_IN_USE when that demo still runs.
 */
export async function endLeftovers(home: string, note: (line: string) => void): Promise<void> {
  const record = readRecord(home);
  if (record === undefined) return;
  if (record.demo !== process.pid && (await commandLine(record.demo))?.includes(' demo')) {
    throw new AlumnusError('HOME_IN_USE', `another demo runs there, process ${record.demo}`, { where: home });
  }
  const proven: { program: string; pid: number }[] = [];
  for (const { program, pid } of record.processes) {
    const line = await commandLine(pid);
    const sign = program === 'coordinator' ? `--listen ${record.address} --home ${home}` : `--coordinator ${record.address}`;
    if (line?.includes(programPath(program)) && line.includes(sign)) proven.push({ program, pid });
  }
  if (proven.length === 0) return;
  note(`stopping ${proven.length} processes that an interrupted demo left running`);
  await Promise.all(proven.filter((each) => each.program === 'worker').map((each) => endProcess(each.pid, STOP_MS)));
  await Promise.all(proven.filter((each) => each.program === 'coordinator').map((each) => endProcess(each.pid, STOP_MS)));
}
