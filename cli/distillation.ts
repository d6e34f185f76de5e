/**
 * What distillation was worth, where a recipe has it: in sentences, and the sweep over temperature and share that its comparisons are.
 * Figures are the rows' (cli/comparisons.ts) and the coordinator's. Pure.
 */
import type { ModelView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Comparison } from '../recipe/index.ts';
import { comparisonRows, fewerErrorsText, gated, judged, lastStudent, recipeOf, type ComparisonRow } from './comparisons.ts';
import { integer, percent } from './format.ts';
import { scored, share, type Proportion } from './statistics.ts';

/** A student that differs from the last one in how much of its teacher it learns, and how softened: one place of the sweep. */
export interface SweepCell {
  readonly name: string;
  readonly temperature: number;
  /** The teacher's share of the loss. */
  readonly share: number;
  readonly split: 'validation' | 'test';
  readonly judged: Proportion;
}

/** Whether nothing else than its distillation is changed. */
const onlyDistills = ({ name: _, what: _what, labels, distill, ...changed }: Comparison): boolean => labels === 'pseudo' && distill !== undefined && Object.values(changed).every((value) => value === undefined);

/**
 * The sweep over temperature and share that a recipe's comparisons are: the last student, and those that have its teacher, soft targets and head and differ in these two alone.
 * Empty where fewer than two of them are evaluated.
 */
export function sweepOf(view: RunView): SweepCell[] {
  const recipe = recipeOf(view);
  const own = recipe?.training.distill;
  if (own?.targets !== 'soft') return [];
  const cell = (name: string, { temperature, share: teachers }: { temperature: number; share: number }, model: ModelView | undefined): SweepCell[] => {
    const { split, score } = judged(model);
    const value = scored(score);
    return value === undefined ? [] : [{ name, temperature, share: teachers, split, judged: value }];
  };
  const cells = [
    ...cell('student', own, lastStudent(view)),
    ...(recipe?.comparisons ?? []).flatMap((comparison) => {
      const { name, distill } = comparison;
      if (!onlyDistills(comparison) || distill === undefined || distill === 'none' || distill.targets !== 'soft' || distill.teacher !== own.teacher || distill.head !== own.head) return [];
      return cell(name, distill, gated(view, view.comparisons.find((each) => each.name === name)));
    }),
  ];
  return cells.length < 2 ? [] : cells;
}

/** What distillation was worth, where the recipe has it: the student beside the same student without a teacher, and how near it came to its teacher. Empty where there is nothing to say. */
export function distillationFindings(view: RunView): string[] {
  if (recipeOf(view)?.training.distill === undefined) return [];
  const rows = comparisonRows(view);
  const [teacher, student, alone] = ['teacher', 'student', 'control'].map((name) => rows.find((row) => row.name === name));
  const wrong = (row: ComparisonRow | undefined): string | undefined => {
    const value = row?.[row.split];
    return value === undefined ? undefined : percent(1 - share(value), 2);
  };
  const said: string[] = [];
  const [own, other, taught] = [wrong(student), wrong(alone), wrong(teacher)];
  if (student !== undefined && own !== undefined && other !== undefined) {
    said.push(`The last student, which learned from its teacher, has an error of ${own} on ${student.split}, and the same student alone ${other}${student.fewerErrors === undefined ? '' : `: ${fewerErrorsText(student.fewerErrors)}`}${taught === undefined ? '' : `; its teacher has ${taught}`}.`);
  }
  if (student?.agreement !== undefined) {
    said.push(`It says what its teacher says on ${percent(share(student.agreement), 2)} of ${integer(student.agreement.total)} ${student.split} images, right or wrong${alone?.agreement === undefined ? '' : `; the student alone on ${percent(share(alone.agreement), 2)}`}.`);
  }
  return said;
}
