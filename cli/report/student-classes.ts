/**
 * Whether the last student passed its teacher, class by class, in one picture: what the labels of a class that it learned from were worth,
 * and both models' errors on it. Figures are the coordinator's. Not for: how the best model stands to the first teacher (page.ts).
 */
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { ClassScore, Score } from '../../proto/gen/alumnus/v1/task.ts';
import { judged, lastStudent, lastTeacher } from '../comparisons.ts';
import { integer } from '../format.ts';
import { difference, share, type Proportion } from '../statistics.ts';
import { errorChart, legend, type ErrorRow } from './charts.ts';
import { html, nothing, type Markup } from './html.ts';

const countOf = (score: Score | undefined, index: number): ClassScore | undefined => score?.classes.find((each) => each.class === index && each.total > 0);

/** In the order of the classes; empty where there is no student whose teacher was judged on the same split. */
export function studentClasses(view: RunView): ErrorRow[] {
  const [student, teacher] = [lastStudent(view), lastTeacher(view)];
  const { split, score } = judged(student);
  const audit = view.iterations.findLast(({ model, fineTuned }) => student !== undefined && (model === student || fineTuned === student))?.audit;
  return (score?.classes ?? []).flatMap(({ class: index }): ErrorRow[] => {
    const [own, before] = [countOf(score, index), countOf(teacher?.[split], index)];
    if (own === undefined || before === undefined) return [];
    const kept = audit?.classes.find((each) => each.class === index && each.total > 0);
    const { low, high } = difference(own, before);
    const of = ({ correct, total }: ClassScore): Proportion => ({ correct, total });
    return [{ name: view.data?.classNames[index] ?? `class ${index}`, teacher: of(before), student: of(own), kept: kept && of(kept), verdict: low > 0 ? 'better' : high < 0 ? 'worse' : undefined }];
  });
}

/** @param rowsMax classes that a chart can show: of more those whose error changed most */
export function studentClassSection(view: RunView, rowsMax: number): Markup {
  const rows = studentClasses(view);
  if (rows.length === 0) return nothing;
  const moved = ({ student, teacher }: ErrorRow): number => Math.abs(share(student) - share(teacher));
  const shown = rows.length > rowsMax ? [...rows].sort((a, b) => moved(b) - moved(a)).slice(0, rowsMax) : rows;
  const count = (verdict: ErrorRow['verdict']): string => integer(rows.filter((row) => row.verdict === verdict).length);
  const beyond = rows.filter(({ student, kept }) => kept !== undefined && share(student) > share(kept)).length;
  const known = rows.filter(({ kept }) => kept !== undefined).length;
  const { split } = judged(lastStudent(view));
  return html`<h2>The last student and its teacher, class by class</h2>
<p>On ${split}, the student is better than its teacher on ${count('better')} of ${integer(rows.length)} classes, worse on ${count('worse')}, and not to be told apart on the others.${known > 0 && ` On ${integer(beyond)} of ${integer(known)} classes its error is below the share of wrong labels that it learned from, which are of the images that the teacher was sure of.`}</p>
<figure class="panel beside" style="margin:0"><div>${legend([{ name: 'teacher\'s error', className: 'test', mark: 'square' }, { name: 'student\'s error', className: 'validation', mark: 'circle' }, ...(known > 0 ? [{ name: 'wrong among the labels kept', className: 'control', mark: 'box' as const, opacity: 0.3 }] : [])])}
${errorChart(`Errors of teacher and student on ${split}, and wrong labels, by class`, shown)}</div>
<figcaption>Left is better. A student (circle) left of its teacher (square) has passed it${known > 0 && '; left of the end of the gray bar it errs less often than its labels did'}. Thick lines: the 95 % interval of the difference excludes zero, solid where the student is better, dashed where it is worse; of ${integer(rows.length)} classes one in twenty does so by chance.${known > 0 && ' Bars are of the unlabeled images whose labels were kept, which are the surer ones, by the class that the label says; marks are of all images whose true class it is. At the right the precision: the share of the labels kept that is right.'}${rows.length > shown.length && ` The ${shown.length} classes that changed most of ${integer(rows.length)} are shown.`}</figcaption></figure>`;
}
