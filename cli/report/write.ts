/** From a view to the report's files: reads the audits out of the object store, renders, and writes each in one move. */
import { resolve } from 'node:path';
import { toAlumnusError } from '../../proto/errors.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { openStore } from '../../store/index.ts';
import { withAgreement } from '../agreement.ts';
import type { Context } from '../context.ts';
import { machineDocument } from '../../proto/machine.ts';
import { version } from '../../proto/version.ts';
import { writeWhole } from '../write-file.ts';
import { parseAudit } from './audit.ts';
import { renderReport, type ReportAudit } from './page.ts';

/** Far above an audit with its gallery; bounds what a wrong reference can cost. */
const AUDIT_BYTES_MAX = 256 * 1024 * 1024;

/** A report without pictures is better than none: what cannot be read is said in the report. */
export async function readAudits(view: RunView, storeUrl: string): Promise<{ audits: ReportAudit[]; missing: string[] }> {
  const wanted = view.iterations.flatMap((iteration) => {
    const ref = iteration.audit?.audit;
    return ref === undefined || ref.sha256 === '' ? [] : [{ iteration: iteration.iteration, attempt: iteration.try, ref }];
  });
  const audits: ReportAudit[] = [];
  const missing: string[] = [];
  if (wanted.length === 0) return { audits, missing };
  try {
    const store = await openStore(storeUrl, { create: false });
    for (const { iteration, attempt, ref } of wanted) {
      try {
        if (ref.bytes > AUDIT_BYTES_MAX) throw new Error(`is larger than ${AUDIT_BYTES_MAX} bytes`);
        audits.push({ iteration, try: attempt, document: parseAudit(await store.get(ref), ref.key) });
      } catch (thrown) {
        missing.push(`The audit of iteration ${iteration} cannot be read, so its pictures are left out: ${toAlumnusError(thrown, ref.key).message}.`);
      }
    }
  } catch (thrown) {
    missing.push(`The object store cannot be read from here, so pictures and precision by class are left out: ${toAlumnusError(thrown, storeUrl).message}.`);
  }
  return { audits, missing };
}

export interface WriteOptions {
  /** A file, or `-` for standard output. Default: `RUN.html` in the present folder. */
  readonly out?: string;
  readonly store?: string;
}

/** The same run for programs, as `run describe -o json` tells it: `report.json` beside `report.html`. */
const jsonBeside = (file: string): string => `${file.replace(/\.html?$/, '')}.json`;

/** Writes the report, its figures as JSON beside it, and prints the report's path, or the report itself to standard output. @returns the path. */
export async function writeReport(context: Context, told: RunView, options: WriteOptions = {}): Promise<string | undefined> {
  const store = options.store ?? told.storeUrl;
  const [{ view, missing: unread }, read] = await Promise.all([withAgreement(told, store), readAudits(told, store)]);
  const { audits } = read;
  const missing = [...unread, ...read.missing];
  for (const sentence of missing) context.note(sentence);
  const page = renderReport({ view, audits, missing, version: version() });
  if (options.out === '-') {
    context.out.write(page);
    return undefined;
  }
  // Run ids hold no separators; a coordinator of another release may know other rules.
  const file = resolve(options.out ?? `${(view.summary?.runId ?? 'run').replace(/[^A-Za-z0-9._-]/g, '_')}.html`);
  await writeWhole(jsonBeside(file), `${JSON.stringify(machineDocument('Run', view), null, 2)}\n`);
  await writeWhole(file, page);
  context.print(file);
  return file;
}
