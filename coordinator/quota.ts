/** What a project's runs have taken of its quota. Not for: devices, which the scheduler counts as it grants (coordinator/scheduler). */
import { PROJECT_DEFAULT, type Access } from './access.ts';
import type { RunState } from './run/index.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

function bytesText(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** unit).toPrecision(3))} ${UNITS[unit]}`;
}

/** What its runs' accepted results take in the store, labels, selections and models alike. */
export const bytesOf = (runs: Iterable<RunState>, project: string): number => [...runs].reduce((sum, run) => sum + (run.project === project ? run.storedBytes : 0), 0);

/** A clause that says so, where the project's bytes are spent. @param project empty: the default one */
export function overQuota(runs: Iterable<RunState>, access: Access, project: string): string | undefined {
  const { bytes } = access.quotaOf(project === '' ? PROJECT_DEFAULT : project);
  const taken = bytes === Infinity ? 0 : bytesOf(runs, project);
  return taken < bytes ? undefined : `the project has taken ${bytesText(taken)} of its ${bytesText(bytes)} in the object store`;
}
