/**
 * The report of a simulation: what the shares played, merged, printed when all have ended. A long run that never met a
 * fault or branch named here fails: what never happens tests nothing. Vitest runs this around the project's test files.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Tally } from './share.ts';

/** So many seeds meet every fault and every branch that is named here. */
const COMPLETE_SEEDS = 1_000;

const FAULTS = [
  'worker crash', 'worker stands still', 'a worker is gone for good, and another comes', 'slow task', 'drain', 'engine crash', 'poison shard', 'poison kills the worker', 'result of the wrong form',
  'leader killed', 'standby killed', 'coordinator stands still', 'the leader\'s entry is lost early', 'answer of the leader\'s entry lost',
  'killed between append and acknowledgement', 'killed between acknowledgement and answer', 'killed between a put and what follows', 'acknowledgement of an append lost', 'slow journal', 'journal out of space',
  'request lost', 'response lost', 'request doubled', 'message late', 'a call meets a cut link',
  ...[['worker', 'coordinator'], ['coordinator', 'worker'], ['coordinator', 'journal'], ['journal', 'coordinator'], ['coordinator', 'entry'], ['entry', 'coordinator'], ['coordinator', 'store'], ['worker', 'store'], ['store', 'worker']].flatMap(([from, to]) => [`link cut (${from} to ${to}, one way)`, `link cut (${from} to ${to} and back)`]),
  'acknowledged groups are lost', 'the journal is lost', 'power loss of the whole cluster', 'the store fails (5xx)', 'the store is full', 'the store cuts an upload off', 'the store doesn\'t answer', 'wrong bytes from the store',
  'wrong bytes from the store, by name', 'the store\'s list is stale', 'labels of the former teacher', 'a checkpoint is lost', 'a coordinator\'s clock steps ahead', 'a coordinator is upgraded',
  'operator pauses', 'operator cancels', 'operator kills', 'a worker is cordoned', 'a worker is draining', 'a person\'s labels are said twice',
].map((fault) => `fault: ${fault}`);
const BRANCHES = [
  'a standby sends a worker on to the leader', 'an older term\'s lease is adopted', 'a result of an older term\'s lease is accepted', 'a worker is told that its lease is lost', 'a second lease', 'a second completion is refused', 'a completion of a closed task is refused', 'a result that is refused for good is reported as a failure',
  'a result is taken while paused', 'a leader steps down', 'a node leads again', 'a deposed leader\'s append is refused', 'a dead leader\'s append arrives', 'the journal is truncated',
  'labels of the former teacher are refused', 'an older release refuses what a newer one wrote', 'a newer release leads what an older one wrote', 'two coordinators believe that they lead',
  'reconcile says restored', 'reconcile says advanced', 'reconcile says agrees', 'reconcile says diverged',
  'a checkpoint is journalled', 'a training goes on from its checkpoint', 'a training goes on from the checkpoint before', 'a training begins anew, its checkpoints are lost',
  'a shared training is done', 'a shared training grows', 'a shared training shrinks', 'a round of one replica', 'a straggler is left out', 'a replica is given up',
  'a model is fine-tuned (reports)', 'a model is fine-tuned (teaches)', 'a model is fine-tuned (control)', 'a model is fine-tuned (comparison)',
  'a model beside the stages is evaluated (control)', 'a model beside the stages is evaluated (comparison)', 'a comparison is given up', 'a comparison is left out, its run ends before',
  'a student is distilled (stored)', 'a student is distilled (online)', 'a model is evaluated on corrupted images',
  'a shard is looked through (near-duplicates)', 'a shard is looked through (nothing is near)', 'a selection leaves out near-duplicates',
  'a person\'s labels are taken', 'a person\'s labels are refused (too late)', 'a person\'s labels are refused (not behind the last)', 'a selection leaves out images with a person\'s label', 'a student learns from a person\'s labels',
  'a model is measured', 'a measurement is given up', 'the smallest that keeps enough is chosen', 'no model keeps enough',
  'a cancelled run is tried again', 'a submission names its data by digest', 'a shard is quarantined', 'a shard is repaired', 'another try', 'labels are kept with their teacher', 'audit is given up', 'control is given up',
  'the run pauses itself (quarantine)', 'the run pauses itself (the store)', 'the run pauses itself (refusal or evaluation)', 'the run pauses itself (a model is given up)', 'the run pauses itself (precision)', 'the run pauses itself (skew)', 'the run pauses itself (calibration)', 'a run ends (runSucceeded)', 'a run ends (runCancelled)', 'compared, nothing quarantined', 'compared, shards quarantined',
].map((branch) => `branch: ${branch}`);


export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'alumnus-simulation-'));
  project.provide('simulationTallies', folder);
  return () => {
    const tallies = readdirSync(folder).sort().map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Tally);
    rmSync(folder, { recursive: true, force: true });
    if (tallies.length > 0) report(tallies);
  };
}

function report(tallies: readonly Tally[]): void {
  const counts = new Map<string, number>();
  for (const [what, times] of tallies.flatMap((tally) => tally.counts)) counts.set(what, (counts.get(what) ?? 0) + times);
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0);
  const seeds = sum((tally) => tally.seeds);
  const hours = sum((tally) => tally.simulatedMs) / 3_600_000;
  const wallMs = Math.max(...tallies.map((tally) => tally.wallMs));
  const missing = [...FAULTS, ...BRANCHES].filter((what) => !counts.has(what));
  const failures = tallies.flatMap((tally) => tally.failures);
  process.stdout.write([
    '', `simulation: ${seeds} seeds, ${hours.toFixed(1)} simulated hours, ${sum((tally) => tally.events)} events in ${(wallMs / 1000).toFixed(0)} s by ${tallies.length} processes, ${(1000 * seeds / wallMs).toFixed(1)} seeds a second, ${(1000 * seeds / sum((tally) => tally.cpuMs)).toFixed(1)} a second of one core`,
    ...[...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, times]) => `  ${String(times).padStart(8)}  ${what}`),
    `${FAULTS.length + BRANCHES.length - missing.length} of ${FAULTS.length + BRANCHES.length} named faults and branches met`,
    `${failures.length} seeds failed`, ...failures, '',
  ].join('\n'));
  if (seeds < COMPLETE_SEEDS || missing.length === 0) return;
  process.stdout.write(`never met: ${missing.join('; ')}\n`);
  // What a teardown throws is printed and forgotten.
  process.exitCode = 1;
}
