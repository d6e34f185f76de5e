/** The public door of `recipe`: the schema of what a user writes, reading it, and the recipes that ship. */
export { canonicalJson } from '../proto/canonical.ts';
export { buildModel, findModel, modelNames, normalizationEpsilon, parameterCount, parameterName, parameterSpecs, validateModelOptions, type Architecture, type ImageShape, type Layers, type Model, type NamedModel, type OptionRange, type ParameterSpec } from './models/index.ts';
export { multiplyAdds } from './models/multiply-adds.ts';
export { frozenParameters, partOf, positionGrids, resizeProblem, type PositionGrids } from './models/fine-tuning.ts';
export { checkRecipe, parseRecipe, printProblem, UNNAMED_RECIPE, type RecipeProblem } from './parse.ts';
export { DEVICE_HOURS_MAX, isImported, journalledRecipe, ladderStep, modelOfIteration, modelOptions, recipeJsonSchema, recipeSchema, REPLICAS_MAX, WALL_HOURS_MAX, type FineTune, type ModelChoice, type Noise, type Recipe, type RecipeInput, type Sharing, type Training } from './schema.ts';
export type { Comparison } from './comparison.ts';
export { COMPARED_FORMAT, weightSchemes, type Compress, type WeightScheme } from './compress.ts';
export type { Distill } from './distill.ts';
export { foreignTeacherName, outputIndices, type ForeignTeacher } from './teacher.ts';
export { readyRecipe, readyRecipeNames, readyRecipeSummary } from './ready/index.ts';
