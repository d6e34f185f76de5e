/**
 * How good predictions are: accuracy by class, and the paired counts of two models on the same samples.
 * Pure; no TensorFlow. Not for: how sure they are, which is calibration's.
 */

/** The class of each row of `[count, classes]`, the first of equals. */
export function argmax(values: Float32Array, count: number, classes: number): Uint16Array {
  const result = new Uint16Array(count);
  for (let row = 0; row < count; row += 1) {
    let best = 0;
    for (let each = 1; each < classes; each += 1) if ((values[row * classes + each] ?? 0) > (values[row * classes + best] ?? 0)) best = each;
    result[row] = best;
  }
  return result;
}

export interface ClassCount {
  correct: number;
  total: number;
}

/** Right and total by true class. */
export function scoreByClass(predicted: Uint16Array, truth: Uint16Array, classes: number): ClassCount[] {
  const counts = Array.from({ length: classes }, () => ({ correct: 0, total: 0 }));
  truth.forEach((label, row) => {
    const count = counts[label];
    if (count === undefined) throw new Error(`invariant broken: label ${label} is outside of ${classes} classes`);
    count.total += 1;
    if (predicted[row] === label) count.correct += 1;
  });
  return counts;
}

/**
 * Predictions that changed over perturbation sequences (Hendrycks and Dietterich 2019, section 4.4), and pairs of frames in all. Pure.
 * @param predicted `[sequences x frames]`
 * @param againstFirst each frame is compared with the first of its sequence; else with the one before
 */
export function flips(predicted: Uint16Array, frames: number, againstFirst: boolean): { wrong: number; total: number } {
  let [wrong, total] = [0, 0];
  predicted.forEach((value, row) => {
    const frame = row % frames;
    if (frame === 0) return;
    total += 1;
    if (value !== predicted[againstFirst ? row - frame : row - 1]) wrong += 1;
  });
  return { wrong, total };
}

/** Samples that only one of two models has right, over the rows for which `counted` is true. */
export function discordant(student: Uint16Array, teacher: Uint16Array, truth: Uint16Array, counted: (row: number) => boolean): { samples: number; studentOnlyRight: number; teacherOnlyRight: number } {
  const counts = { samples: 0, studentOnlyRight: 0, teacherOnlyRight: 0 };
  truth.forEach((label, row) => {
    if (!counted(row)) return;
    counts.samples += 1;
    const [ours, theirs] = [student[row] === label, teacher[row] === label];
    if (ours && !theirs) counts.studentOnlyRight += 1;
    if (theirs && !ours) counts.teacherOnlyRight += 1;
  });
  return counts;
}
