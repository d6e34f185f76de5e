/** Student, teacher and labels, class by class: figures counted by hand, and that each is drawn where it is. */
import { expect, test } from 'vitest';
import { renderReport } from '../../../cli/report/page.ts';
import { studentClasses } from '../../../cli/report/student-classes.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { finishedRun, runningRun } from './fixture.ts';

const scored = (...correct: number[]) => ({ correct: correct.reduce((a, b) => a + b), total: 1000 * correct.length, classes: correct.map((each, at) => ({ class: at, correct: each, total: 1000 })), calibrationError: 0 });

/** Three classes of 1,000: better, worse, and not to be told apart. Iteration 2 taught iteration 3. */
function threeClasses(): RunView {
  const view = finishedRun();
  const [first, second, teacher, student] = view.iterations;
  return {
    ...view, data: { ...view.data!, classNames: ['zero', '<i>one</i>', 'two'] },
    iterations: [first!, second!, { ...teacher!, model: { ...teacher!.model!, test: scored(900, 980, 950) } }, {
      ...student!, model: { ...student!.model!, test: scored(960, 900, 952) },
      audit: { ...student!.audit!, classes: [{ class: 0, correct: 4750, total: 5000 }, { class: 1, correct: 4900, total: 5000 }, { class: 2, correct: 0, total: 0 }] },
    }],
  };
}

test('each class has the errors of both, what its labels were worth, and what the interval of the difference says', () => {
  expect(studentClasses(threeClasses())).toEqual([
    // Newcombe's interval in points, in Python: +3.8 to +8.3, -10.2 to -5.9, -1.7 to +2.1.
    { name: 'zero', teacher: { correct: 900, total: 1000 }, student: { correct: 960, total: 1000 }, kept: { correct: 4750, total: 5000 }, verdict: 'better' },
    { name: '<i>one</i>', teacher: { correct: 980, total: 1000 }, student: { correct: 900, total: 1000 }, kept: { correct: 4900, total: 5000 }, verdict: 'worse' },
    { name: 'two', teacher: { correct: 950, total: 1000 }, student: { correct: 952, total: 1000 }, kept: undefined, verdict: undefined },
  ]);
});

test('the picture has all of them on one axis, and the sentence counts', () => {
  const page = renderReport({ view: threeClasses(), audits: [], missing: [], version: '0' });
  expect(page).toContain('the student is better than its teacher on 1 of 3 classes, worse on 1, and not to be told apart on the others. On 1 of 2 classes its error is below the share of wrong labels that it learned from, which are of the images that the teacher was sure of.');
  const picture = page.slice(page.indexOf('Errors of teacher and student on test'), page.indexOf('Left is better'));
  expect(picture).toContain('zero: teacher&#39;s error 10.00 % (100 of 1,000), student&#39;s error 4.00 % (40 of 1,000), wrong among the labels kept 5.00 % (250 of 5,000)');
  expect(picture).toContain('&lt;i&gt;one&lt;/i&gt;');
  // Ticks go to 10 %, from 112 to 326 of 400 units: of 4 % 112 + 0.4 x 214, of 5 % half of 214 wide.
  expect(picture).toMatch(/<circle class="fill validation" cx="197\.6"/);
  expect(picture).toMatch(/<rect class="fill control" opacity="0\.3" x="112\.0" y="\S+" width="107\.0"/);
  expect(picture.match(/stroke (better|worse|control)"/g)).toEqual(['stroke better"', 'stroke worse"', 'stroke control"']);
  expect(picture).toContain('95.0 %');
});

test('without a student there is none', () => {
  const view = runningRun();
  expect(renderReport({ view: { ...view, iterations: view.iterations.slice(0, 1) }, audits: [], missing: [], version: '0' })).not.toContain('class by class</h2>');
});
