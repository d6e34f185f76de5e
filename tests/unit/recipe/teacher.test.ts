/** A first teacher from elsewhere in a recipe: what is taken, what is refused before anybody looks at the model, and what the ladder then means. */
import { describe, expect, test } from 'vitest';
import { costText, trainingsOf } from '../../../cli/cost.ts';
import { canonicalJson, checkRecipe, foreignTeacherName, isImported, journalledRecipe, modelOfIteration, outputIndices, parseRecipe, printProblem, type ForeignTeacher } from '../../../recipe/index.ts';

const withTeacher = (teacher: string, more = ''): string => `name: digits
rounds: 2
data: { dataset: mnist }
models:
  teacher: ${teacher}
  ladder: [{ model: cnn, width: 8 }, { model: cnn, width: 12 }]
${more}`;

test('its URL is enough; the rest is the model\'s to say', () => {
  const recipe = parseRecipe(withTeacher('{ url: "s3://models/digits?endpoint=https://minio:9000" }'));
  expect(recipe.models.teacher).toEqual({ url: 's3://models/digits?endpoint=https://minio:9000', input: { range: [0, 1] }, output: {} });
  expect(journalledRecipe(canonicalJson(recipe))).toEqual(recipe);
});

test('a recipe without one has none, so that what is hashed of an older one stays as it was', () => {
  expect(Object.keys(parseRecipe('name: digits\ndata: { dataset: mnist }\nmodels: { ladder: [{ model: cnn }] }\n').models)).toEqual(['ladder']);
});

test('the ladder begins with iteration 1: iteration 0 trains nothing', () => {
  const recipe = parseRecipe(withTeacher('{ url: "file:///models/digits" }', 'control: true\ntraining: { student: { steps: 10, batch_labeled: 3, batch_unlabeled: 5 } }\n'));
  expect([0, 1, 2].map((iteration) => isImported(recipe, iteration))).toEqual([true, false, false]);
  expect([1, 2].map((iteration) => modelOfIteration(recipe, iteration)['width'])).toEqual([8, 12]);
  expect(() => modelOfIteration(recipe, 0)).toThrow('invariant broken');
  expect(trainingsOf(recipe, undefined).map(({ title, model }) => [title, model])).toEqual([['iteration 1', 'cnn width=8'], ['iteration 2', 'cnn width=12'], ['control', 'cnn width=12']]);
  // Three trainings of 10 steps of 8 images.
  expect(costText(recipe, undefined)).toContain('3 trainings see 240 images.');
});

test.each<[string, string, string[]]>([
  ['a path', withTeacher('{ url: models/digits }'), ['models.teacher.url (line 5): write file:///folder/model, https://host/model.onnx, or s3://bucket/model?endpoint=https://host:port, of the model\'s folder or file']],
  ['a URL with a password', withTeacher('{ url: "https://ada:secret@host/model.onnx" }'), ['models.teacher.url (line 5): holds credentials, and a recipe is no place for them: the keys of a bucket are in the workers\' environment']],
  ['no URL', withTeacher('{ format: onnx }'), ['models.teacher.url (line 5): invalid input: expected string, received undefined']],
  ['a format there is not', withTeacher('{ url: "file:///m", format: keras }'), ['models.teacher.format (line 5): invalid option: expected one of "savedmodel"|"tfjs"|"onnx", received "keras"']],
  ['a layout there is not', withTeacher('{ url: "file:///m", input: { layout: chw } }'), ['models.teacher.input.layout (line 5): invalid option: expected one of "nhwc"|"nchw", received "chw"']],
  ['a deviation of 0', withTeacher('{ url: "file:///m", input: { std: [0.2, 0, 0.2] } }'), ['models.teacher.input.std (line 5): must be above 0']],
  ['means for two channels', withTeacher('{ url: "file:///m", input: { mean: [0.5, 0.5] } }'), ['models.teacher.input.mean (line 5): has 2 numbers for 3 channels']],
  ['means of color for gray', withTeacher('{ url: "file:///m", input: { channels: 1, mean: [0.4, 0.5, 0.6] } }'), ['models.teacher.input.mean (line 5): has 3 numbers for 1 channels']],
  ['a range upside down', withTeacher('{ url: "file:///m", input: { range: [1, 0] } }'), ['models.teacher.input.range (line 5): write the lower number first']],
  ['names and indices', withTeacher('{ url: "file:///m", output: { classes: [a, b], indices: [0, 1] } }'), ['models.teacher.output.indices (line 5): is written beside classes: write one of the two']],
  ['a name twice', withTeacher('{ url: "file:///m", output: { classes: [a, a] } }'), ['models.teacher.output.classes (line 5): holds a name twice']],
  ['an index twice', withTeacher('{ url: "file:///m", output: { indices: [3, 3] } }'), ['models.teacher.output.indices (line 5): holds an index twice']],
  ['an unknown field', withTeacher('{ url: "file:///m", weights: best }'), ['models.teacher.weights (line 5): is not a field of a recipe (compress.weights is one)']],
  ['a noised teacher', withTeacher('{ url: "file:///m" }', 'labels: { noised_teacher: true }\n'), ['labels.noised_teacher (line 7): cannot be asked of models.teacher: a model from elsewhere predicts clean, as it was saved']],
  ['no round', withTeacher('{ url: "file:///m" }').replace('rounds: 2', 'rounds: 0'), ['rounds (line 2): is 0, and with models.teacher iteration 0 trains nothing: ask for a round']],
  ['a ladder with a step for iteration 0', withTeacher('{ url: "file:///m" }').replace('rounds: 2', 'rounds: 1'), ['models.ladder (line 6): has 2 models for 1 iterations that train (iteration 0 imports models.teacher): raise rounds or take 1 out']],
])('%s is refused', (_, text, problems) => {
  expect(checkRecipe(text).problems.map(printProblem)).toEqual(problems);
});

describe('the data\'s classes among the model\'s', () => {
  const output = (written: object): Pick<ForeignTeacher, 'output'> => ({ output: written });
  test('are found by name, or given by index, or are the model\'s', () => {
    expect(outputIndices(output({ classes: ['cat', 'dog', 'owl'] }), ['owl', 'cat'])).toEqual([2, 0]);
    expect(outputIndices(output({ indices: [281, 7] }), ['cat', 'cock'])).toEqual([281, 7]);
    expect(outputIndices(output({}), ['cat', 'dog'])).toBeUndefined();
  });
  test('that are missing are named', () => {
    expect(() => outputIndices(output({ classes: ['cat', 'dog'] }), ['cat', 'owl'])).toThrow(expect.objectContaining({ code: 'RECIPE_INVALID', where: 'models.teacher.output.classes', message: expect.stringContaining('does not name owl of the data\'s classes') as string }) as Error);
    expect(() => outputIndices(output({ indices: [1] }), ['cat', 'owl'])).toThrow(expect.objectContaining({ code: 'RECIPE_INVALID', message: 'has 1 indices for the 2 classes of the data (cat, owl)' }) as Error);
  });
});

test.each([
  ['file:///models/birds-b3/', 'birds-b3 (imported)'], ['https://host/a/birds/model.json', 'birds (imported)'], ['s3://bucket/vit%20base.onnx?endpoint=http://h:9', 'vit base.onnx (imported)'], ['s3://bucket', 'bucket (imported)'],
])('%s is called %s', (url, name) => {
  expect(foreignTeacherName({ url, input: { range: [0, 1] }, output: {} })).toBe(name);
});
