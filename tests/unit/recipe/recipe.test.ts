/** What a user is told about a recipe: every mistake at once, each with its field, its line and its reason. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { canonicalJson, checkRecipe, journalledRecipe, modelNames, modelOfIteration, modelOptions, parseRecipe, printProblem, readyRecipe, readyRecipeNames, readyRecipeSummary, recipeJsonSchema, recipeSchema } from '../../../recipe/index.ts';

const least = `name: digits
data:
  dataset: mnist
models:
  ladder:
    - { model: cnn }
`;

const problemsOf = (text: string): string[] => checkRecipe(text).problems.map(printProblem);

describe('a recipe', () => {
  test('the least one is taken, with the published defaults', () => {
    const recipe = parseRecipe(least);
    expect(recipe).toMatchObject({
      seed: 1, rounds: 3, weight: 1, control: false,
      training: { ema_decay: 0.995, optimizer: { name: 'adamw', learning_rate: 0.001, weight_decay: 0.0001 } },
      noise: { input: { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 10 } },
      labels: { kind: 'soft', threshold: 0.3, balance: 'classes', copies_max: 10 },
      promotion: { require: 'not-worse', alpha: 0.05, on_refusal: 'keep-teacher', tries_max: 2 },
      tolerance: { quarantined_share: 0.05, attempts: 3 },
    });
  });

  test('has no noise that it does not name, so that what is hashed of a recipe from before there was more stays as it was', () => {
    const { noise, labels } = parseRecipe(least);
    expect(canonicalJson(noise)).toBe('{"input":{"layers":2,"magnitude":10,"name":"randaugment","operations":"paper14"}}');
    expect(labels.noised_teacher).toBe(false);
    const { noised_teacher: _, ...before } = labels;
    expect(journalledRecipe(canonicalJson({ ...parseRecipe(least), labels: before }))).toEqual(parseRecipe(least));
  });

  test('takes all noise at once, at the strengths of DeiT', () => {
    const { noise } = parseRecipe(`${least}noise:\n  input: { name: randaugment, operations: tf16 }\n  erasing: {}\n  mix: { mixup_alpha: 0.8, cutmix_alpha: 1 }\n`);
    // facebookresearch/deit main.py: reprob 0.25, remode pixel, mixup 0.8, cutmix 1.0, mixup_prob 1.0, mixup_switch_prob 0.5; areas and aspects are timm's.
    expect(noise).toEqual({
      input: { name: 'randaugment', operations: 'tf16', layers: 2, magnitude: 10 },
      erasing: { probability: 0.25, area_min: 0.02, area_max: 1 / 3, aspect_min: 0.3, mode: 'pixel' },
      mix: { mixup_alpha: 0.8, cutmix_alpha: 1, probability: 1, switch_probability: 0.5 },
    });
  });

  test('has no fine-tuning and no early stop that it does not name; those that it names have their defaults', () => {
    const { training } = parseRecipe(least);
    expect(Object.keys(training)).toEqual(['teacher', 'student', 'optimizer', 'schedule', 'ema_decay', 'label_smoothing', 'checkpoint_steps']);
    const named = parseRecipe(`${least}training:\n  fine_tune: { steps: 100 }\n  early_stop: { every_steps: 50 }\n`).training;
    expect(named.fine_tune).toEqual({ steps: 100, batch_labeled: 64, freeze: 0.5, teaches: false });
    expect(named.early_stop).toEqual({ every_steps: 50, patience: 3, min_delta: 0, holdout: 0.1 });
  });

  test('students may learn from pseudo-labels alone, where fine-tuning brings the labeled images later', () => {
    const alone = `${least}training:\n  student: { batch_labeled: 0 }\n`;
    expect(parseRecipe(`${alone}  fine_tune: { steps: 100, freeze: 0, teaches: true }\n`).training.student.batch_labeled).toBe(0);
    expect(problemsOf(alone)).toEqual(['training.student.batch_labeled (line 8): may be 0 only beside training.fine_tune: the student would never see a labeled image']);
    expect(problemsOf(`${alone}  fine_tune: { steps: 100 }\n  schedule: { name: exponential, decay_epochs: 2 }\n`)).toEqual(['training.schedule.decay_epochs (line 10): counts passes over the labeled images, of which the students\' batches have none: give decay_steps']);
  });

  test('shares a training as DiLoCo does, and says nothing of it where one worker trains', () => {
    // arXiv 2311.08105: SGD with Nesterov momentum 0.9 at a rate of 0.7.
    expect(parseRecipe(`${least}training: { replicas: auto }\n`).training).toMatchObject({ replicas: 'auto', sharing: { local_steps: 100, outer: { learning_rate: 0.7, momentum: 0.9 }, quorum: 0.75, straggler_wait: 0.5 } });
    const shared = parseRecipe(`${least}training: { replicas: 3, sharing: { local_steps: 20 } }\n`);
    expect(parseRecipe(canonicalJson(shared))).toEqual(shared);
    for (const one of [`${least}training: { replicas: 1 }\n`, `${least}training: { replicas: 1, sharing: { quorum: 1 } }\n`]) expect(canonicalJson(parseRecipe(one))).toBe(canonicalJson(parseRecipe(least)));
    expect(canonicalJson(parseRecipe(least))).not.toContain('replicas');
  });

  test('compresses nothing unless it says so, and then by its defaults', () => {
    expect(canonicalJson(parseRecipe(least))).not.toContain('compress');
    expect(parseRecipe(`${least}compress: {}\n`).compress).toEqual({ accuracy_kept: 0.98, weights: ['float32', 'float16', 'int8'] });
    expect(parseRecipe(`${least}compress: { weights: [int8] }\n`).compress).toEqual({ accuracy_kept: 0.98, weights: ['int8'] });
  });

  test('JSON is a recipe too, and defaults filled in are the same recipe', () => {
    const recipe = parseRecipe(least);
    expect(parseRecipe(canonicalJson(recipe))).toEqual(recipe);
  });

  test.each<[string, string, string[]]>([
    ['an unknown field', `${least}threshhold: 0.3\n`, ['threshhold (line 7): is not a field of a recipe']],
    ['a field in another place', `${least}noised_teacher: true\n`, ['noised_teacher (line 7): is not a field of a recipe (labels.noised_teacher is one)']],
    ['a misspelt field in a list', `${least}comparisons:\n  - { name: a, modle: { name: cnn } }\n`, ['comparisons[0].modle (line 8): is not a field of a recipe (did you mean model?)']],
    ['an unknown field, deep', `${least}labels:\n  treshold: 0.3\n`, ['labels.treshold (line 8): is not a field of a recipe (did you mean threshold?)']],
    ['more problems than help', `${least}${Array.from({ length: 22 }, (_, n) => `zzz${n}: 1\n`).join('')}`, [...Array.from({ length: 20 }, (_, n) => `zzz${n} (line ${7 + n}): is not a field of a recipe`), 'the recipe: has 2 more problems']],
    ['a wrong type', `${least}rounds: three\n`, ['rounds (line 7): invalid input: expected number, received "three"']],
    ['a fraction for a whole number', `${least}rounds: 1.5\n`, ['rounds (line 7): invalid input: expected int, received 1.5']],
    ['a number out of range', `${least}labels:\n  threshold: 1.5\n`, ['labels.threshold (line 8): too big: expected number to be <=1, received 1.5']],
    ['a share beyond all', `${least}training:\n  fine_tune: { steps: 10, freeze: 1.5 }\n`, ['training.fine_tune.freeze (line 8): too big: expected number to be <=1, received 1.5']],
    ['fine-tuning without steps', `${least}training:\n  fine_tune: {}\n`, ['training.fine_tune.steps (line 8): invalid input: expected number, received undefined']],
    ['more measurements than a journal should hold', `${least}training:\n  early_stop: { every_steps: 2 }\n`, ['training.early_stop.every_steps (line 8): must be at least 3: a training of 2500 steps would be measured more than 1000 times']],
    ['how a training is shared that is not', `${least}training: { sharing: { quorum: 1 } }\n`, ['training.sharing (line 7): says how replicas share a training: name training.replicas, too']],
    ['no replicas', `${least}training: { replicas: 0 }\n`, ['training.replicas (line 7): too small: expected number to be >=1, received 0']],
    ['a word for replicas', `${least}training: { replicas: many }\n`, ['training.replicas (line 7): write a number of workers, 1 to 64, or auto']],
    ['early stop of what several workers share', `${least}training: { replicas: 2, early_stop: { every_steps: 100 } }\n`, ['training.early_stop (line 7): ends a training by what one worker measures: leave it out, or training.replicas']],
    ['a word that is not one of the choice', `${least}promotion:\n  on_refusal: give-up\n`, ['promotion.on_refusal (line 8): invalid option: expected one of "keep-teacher"|"retry"|"stop"|"wait", received "give-up"']],
    ['a name that is no name', least.replace('digits', 'My Digits!'), ['name (line 1): use 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning and ending with a letter or digit, received "My Digits!"']],
    ['a ladder that shrinks', least.replace('    - { model: cnn }\n', '    - { model: cnn, width: 32 }\n    - { model: cnn, width: 16 }\n'), ['models.ladder[1].width (line 7): shrinks from 32 to 16: a student is equal to its teacher or larger']],
    ['a ladder that shrinks below a default', least.replace('    - { model: cnn }\n', '    - { model: cnn }\n    - { model: cnn, width: 8 }\n'), ['models.ladder[1].width (line 7): shrinks from 16 to 8: a student is equal to its teacher or larger']],
    ['a ladder longer than the run', `${least.replace('    - { model: cnn }\n', '    - { model: cnn }\n    - { model: cnn }\n    - { model: cnn }\n')}rounds: 1\n`, ['models.ladder (line 6): has 3 models for 2 iterations: raise rounds or take 1 out']],
    ['an empty ladder', least.replace('\n    - { model: cnn }', ' []'), ['models.ladder (line 5): too small: expected array to have >=1 items']],
    ['a model there is not', least.replace('cnn', 'transformer'), [`models.ladder[0].model (line 6): there is no model "transformer"; there are ${modelNames.join(', ')}`]],
    ['a depth that was not published', least.replace('{ model: cnn }', '{ model: resnet, depth: 49 }'), ['models.ladder[0].depth (line 6): must be one of 18, 34, 50, 101, 152']],
    ['a ladder that shrinks from one size of a family to another', least.replace('    - { model: cnn }\n', '    - { model: efficientnet-b1 }\n    - { model: efficientnet-b0 }\n'), ['models.ladder[1].depth (line 7): shrinks from 1.1 to 1: a student is equal to its teacher or larger']],
    ['an option its model has not', least.replace('{ model: cnn }', '{ model: cnn, depth: 3 }'), ['models.ladder[0].depth (line 6): cnn has no such option; it has width, dense, dropout_features, dropout']],
    ['an option out of range', least.replace('{ model: cnn }', '{ model: cnn, width: 0 }'), ['models.ladder[0].width (line 6): must be an integer from 1 to 1024']],
    ['no dataset', 'name: digits\ndata: {}\nmodels:\n  ladder: [{ model: cnn }]\n', ['data.labeled (line 2): name a dataset here, or one for all parts in data.dataset', 'data.unlabeled (line 2): name a dataset here, or one for all parts in data.dataset', 'data.validation (line 2): name a dataset here, or one for all parts in data.dataset']],
    ['a part that there is not', least.replace('dataset: mnist', 'dataset: mnist\n  labeled: mnist#train'), ['data.labeled (line 4): write DATASET or DATASET#PART, where PART is labeled, unlabeled, validation or test, received "mnist#train"']],
    ['a warm-up longer than a training', `${least}training:\n  schedule: { warmup_steps: 1000 }\n`, ['training.schedule.warmup_steps (line 8): must be fewer than the steps of every training']],
    ['a decay that its schedule has not', `${least}training:\n  schedule: { decay_epochs: 2.4 }\n`, ['training.schedule.decay_epochs (line 8): belongs to the schedule "exponential", and this one is "cosine"']],
    ['two decays at once', `${least}training:\n  schedule: { name: exponential, decay_epochs: 2.4, decay_steps: 100 }\n`, ['training.schedule.decay_epochs (line 8): give decay_steps or decay_epochs, not both']],
    ['an option of another optimizer', `${least}training:\n  optimizer: { name: sgd, epsilon: 0.001 }\n`, ['training.optimizer.epsilon (line 8): belongs to the optimizer "rmsprop", and this one is "sgd"']],
    ['a noise there is not', `${least}noise:\n  input: { name: blur }\n`, ['noise.input.name (line 8): invalid discriminator value. Expected \'none\' | \'affine\' | \'randaugment\'']],
    ['a field of another noise', `${least}noise:\n  input: { name: affine, magnitude: 3 }\n`, ['noise.input.magnitude (line 8): is not a field of a recipe (another choice of noise.input has it)']],
    ['a mixing of nothing', `${least}noise:\n  mix: { probability: 0.5 }\n`, ['noise.mix (line 8): give mixup_alpha, cutmix_alpha or both: with neither nothing is mixed']],
    ['a rectangle whose largest area is below its least', `${least}noise:\n  erasing: { area_min: 0.4 }\n`, ['noise.erasing.area_max (line 8): must not be below area_min']],
    ['compression of nobody', `${least}rounds: 0\ncompress: {}\n`, ['compress (line 8): asks what students keep of their teacher, and with rounds: 0 there are none']],
    ['more than all of the accuracy', `${least}compress: { accuracy_kept: 1.1 }\n`, ['compress.accuracy_kept (line 7): is a share, at most 1: 98 % is 0.98, received 1.1']],
    ['weights in what there is not', `${least}compress: { weights: [int4] }\n`, ['compress.weights[0] (line 7): invalid option: expected one of "float32"|"float16"|"int8", received "int4"']],
    ['the same weights twice', `${least}compress: { weights: [int8, int8] }\n`, ['compress.weights (line 7): names one of them twice']],
    ['a comparison by a name that compress has', `${least}compress: {}\ncomparisons: [{ name: teacher }]\n`, ['comparisons[0].name (line 8): teacher is what compress calls another one']],
    ['distillation into nobody', `${least}rounds: 0\ntraining:\n  distill: {}\n`, ['training.distill (line 9): is of students, and with rounds: 0 there are none']],
    ['a temperature of hard targets', `${least}training:\n  distill: { targets: hard, temperature: 3 }\n`, ['training.distill.temperature (line 8): belongs to soft targets: the most probable class is the same at any temperature']],
    ['a temperature that freezes', `${least}training:\n  distill: { temperature: 0 }\n`, ['training.distill.temperature (line 8): too small: expected number to be >=0.1, received 0']],
    ['hard labels beside distillation', `${least}training:\n  distill: {}\nlabels: { kind: hard }\n`, ['labels.kind (line 9): has no meaning beside training.distill, whose targets say what students learn of their teacher: leave it out']],
    ['a token that a model has not', `${least}training:\n  distill: { head: token }\n`, ['models.ladder[0].model (line 6): has no distillation token, as training.distill.head: token asks: take deit-tiny, deit-small or deit-base, or write head: class']],
    ['an online teacher from elsewhere', `${least.replace('  ladder:', '  teacher: { url: "file:///models/m.onnx" }\n  ladder:')}training:\n  distill: { teacher: online }\n`, ['training.distill.teacher (line 9): can\'t be online with models.teacher: a model from elsewhere is no part of a training step here. Write stored']],
    ['an online teacher that labels noised', `${least}training:\n  distill: { teacher: online }\nlabels: { noised_teacher: true }\n`, ['training.distill.teacher (line 8): can\'t be online beside labels.noised_teacher: within a step a teacher has no noise of its own']],
    ['an online teacher of larger images than its students\'', `${least}training:\n  distill: { teacher: online }\n  fine_tune: { steps: 10, teaches: true, image: { height: 56, width: 56 } }\n`, ['training.distill.teacher (line 8): can\'t be online where training.fine_tune gives teachers images of another size than their students\': write stored']],
    ['a name given twice', `${least}name: again\n`, ['the recipe (line 7): Map keys must be unique: "name: again"']],
    ['text that is no YAML', 'name: [digits\n', []],
    ['a list', '- digits\n', ['the recipe (line 1): is not a recipe: a mapping with name, data and models is expected']],
    ['nothing', '', ['the recipe (line 1): is not a recipe: a mapping with name, data and models is expected']],
    ['another version', `apiVersion: alumnus/v2\n${least}`, ['apiVersion (line 1): invalid input: expected "alumnus/v1", received "alumnus/v2"']],
    ['infinity', `${least}weight: .inf\n`, ['weight (line 7): invalid input: expected number, received Infinity']],
  ])('%s', (_, text, expected) => {
    const problems = problemsOf(text);
    expect(problems.length).toBeGreaterThan(0);
    if (expected.length > 0) expect(problems).toEqual(expected);
    expect(() => parseRecipe(text)).toThrow(expect.objectContaining({ code: expected.every((each) => each.includes(': shrinks')) && expected.length > 0 ? 'RECIPE_LADDER_SHRINKS' : 'RECIPE_INVALID' }) as Error);
  });

  test.each([
    ['sizes of one family', '{ model: vit-tiny, patch: 4 }', '{ model: vit-small, patch: 4 }'],
    ['a size that is written out', '{ model: efficientnet-b7 }', '{ model: efficientnet-b0, width: 2, depth: 3.1 }'],
    ['models of different families, whose parameters are counted when the data is known', '{ model: cnn }', '{ model: wide-resnet, depth: 16, width: 2 }'],
  ])('a ladder may hold %s', (_, first, second) => {
    expect(problemsOf(least.replace('    - { model: cnn }\n', `    - ${first}\n    - ${second}\n`))).toEqual([]);
  });

  test.each([
    ['a line that strayed in before it', `Here is your recipe\n# Mine\n${least}`, /^the recipe \(line 1\): "Here is your recipe" is no field: write FIELD: VALUE, or # in front of a comment; \d+ more problems follow, mostly from this one$/],
    ['a colon too many', `${least}seed: 1: 2\n`, /^the recipe \(line 7\): Nested mappings are not allowed in compact mappings: "seed: 1: 2"$/],
    ['a bracket that is not closed', 'name: [digits\n', /^the recipe \(line \d+\): .*: ".*"(; 1 more problem follows.*)?$/],
  ])('of text that is no YAML, with %s, the first problem is told with its line', (_, text, expected) => {
    expect(problemsOf(text)).toEqual([expect.stringMatching(expected)]);
  });

  test('what was written is quoted, and bounded', () => {
    expect(problemsOf(`${least}rounds: 1.5\nlabels:\n  kind: ${'firm'.repeat(100)}\n`)).toEqual([
      'rounds (line 7): invalid input: expected int, received 1.5',
      expect.stringMatching(/^labels\.kind \(line 9\): invalid option: expected one of "soft"\|"hard", received "(firm)+fi…$/),
    ]);
    expect(problemsOf(`${least}rounds: ${'9'.repeat(20)}\n`)[0]).toHaveLength('rounds (line 7): too big: expected int to be <=9007199254740991, received 100000000000000000000'.length);
  });

  test('all mistakes are told at once', () => {
    expect(problemsOf(`${least}rounds: many\nlabels:\n  threshold: 2\n  kind: firm\nextra: 1\n`)).toHaveLength(4);
  });

  test('neither megabytes nor an alias bomb are taken', () => {
    expect(problemsOf('#'.repeat(2_000_000))[0]).toContain('is longer than');
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]', ...Array.from({ length: 8 }, (_, index) => `a${index + 1}: &a${index + 1} [${Array(9).fill(`*a${index}`).join(', ')}]`)].join('\n');
    expect(problemsOf(bomb)).not.toEqual([]);
  });

  test('a ladder may shrink where students are distilled, and a teacher needs no token of its own', () => {
    const ladder = (text: string): string => least.replace('    - { model: cnn }\n', text);
    expect(problemsOf(`${ladder('    - { model: cnn, width: 32 }\n    - { model: cnn, width: 8 }\n')}training: { distill: {} }\n`)).toEqual([]);
    expect(problemsOf(`${ladder('    - { model: cnn }\n    - { model: deit-tiny, patch: 4 }\n')}training: { distill: { head: token, teacher: online, targets: hard } }\n`)).toEqual([]);
    expect(parseRecipe(`${least}training: { distill: {} }\n`).training.distill).toEqual({ teacher: 'stored', targets: 'soft', temperature: 1, share: 0.5, head: 'class' });
    expect(Object.keys(parseRecipe(least).training)).not.toContain('distill');
  });

  test('the last model of a ladder serves all later iterations, with its defaults', () => {
    const recipe = parseRecipe(least.replace('    - { model: cnn }\n', '    - { model: cnn, width: 8 }\n    - { model: cnn, width: 24 }\n'));
    expect([0, 1, 2, 3].map((iteration) => modelOptions(modelOfIteration(recipe, iteration)).width)).toEqual([8, 24, 24, 24]);
    expect(modelOptions(modelOfIteration(recipe, 0))).toEqual({ width: 8, dense: 128, dropout_features: 0.25, dropout: 0.5 });
  });
});

describe('the ready recipes', () => {
  test.each(readyRecipeNames())('%s is taken by the schema and by its published JSON Schema', (name) => {
    const text = readyRecipe(name) ?? '';
    const { recipe, problems } = checkRecipe(text);
    expect(problems).toEqual([]);
    expect(recipe?.name).toBe(name);
    expect(readyRecipeSummary(name)).toMatch(/^[A-Z].*: .*\.$/);
    const published = z.fromJSONSchema(recipeJsonSchema() as Parameters<typeof z.fromJSONSchema>[0]);
    expect(published.safeParse(recipe).success).toBe(true);
    expect(published.safeParse({ ...recipe, rounds: -1 }).success).toBe(false);
    expect(published.safeParse({ ...recipe, nonsense: 1 }).success).toBe(false);
  });

  test('there is none of a name that objects inherit', () => expect(readyRecipe('constructor')).toBeUndefined());

  test('the published schema describes every field of the first level but the obvious', () => {
    const { properties, $id } = recipeJsonSchema() as { properties: Record<string, unknown>; $id: string };
    expect($id).toContain('recipe-v1');
    expect(Object.keys(properties).sort()).toEqual(Object.keys(recipeSchema.shape).sort());
  });
});

describe('canonical JSON', () => {
  test('equal values have equal bytes, whatever the order they were written in', () => {
    expect(canonicalJson({ b: [1, { d: null, c: 'é' }], a: 0.1, skipped: undefined })).toBe('{"a":0.1,"b":[1,{"c":"é","d":null}]}');
    expect(canonicalJson({ a: 1, b: 2 })).toBe(canonicalJson({ b: 2, a: 1 }));
  });

  test('what JSON cannot hold is not written as something else', () => {
    expect(() => canonicalJson({ a: Number.NaN })).toThrow('finite');
    expect(() => canonicalJson([Infinity])).toThrow('finite');
  });
});
