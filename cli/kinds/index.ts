/**
 * Every kind of document that `-o json` tells, as JSON Schema: the one table of them. Messages of the wire come from its descriptors (wire.ts); what
 * the command line makes itself is described here, and tests/integration/cli-verbs.test.ts holds every command to it.
 */
import { z } from 'zod';
import { invariant } from '../../proto/errors.ts';
import { API_VERSION } from '../../proto/machine.ts';
import { reference, wireDefinitions, type JsonSchema } from './wire.ts';

/** A message of the wire within a document of ours. */
const wire = (name: string): z.ZodUnknown => z.unknown().meta({ ...reference(name) });

const count = z.int().min(0);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const share = z.number().min(0).max(1);
const seconds = z.number();
const right = z.strictObject({ correct: count, total: count });
const namedClass = z.strictObject({ class: count, name: z.string() });

const dataset = z.strictObject({
  name: z.string(), digest, version: z.int().min(1), classes: z.array(z.string()), image: z.strictObject({ height: count, width: count, channels: count }),
  split: z.strictObject({ seed: z.int(), method: z.string(), source: z.string(), dropped: z.strictObject({ duplicates: count, straddling: count }) }).optional(),
  corruption: z.strictObject({ name: z.string(), seed: z.int(), of: z.strictObject({ name: z.string(), sha256: digest }), images: count.optional() }).optional(),
  parts: z.array(z.strictObject({ part: z.string(), samples: count, shards: count, bytes: count, truth: z.boolean(), classCounts: z.array(count).optional(), registered: z.array(z.strictObject({ location: z.string(), shards: count })).optional() })),
  notes: z.array(z.string()).optional().describe('Of an import or a registration: what a person should know.'),
  added: count.optional().describe('Of a registration: shards.'), made: z.boolean().optional().describe('Of a corruption: whether it was made now.'),
});

const model = z.strictObject({
  name: z.string(), family: z.string(),
  options: z.record(z.string(), z.strictObject({ default: z.number(), min: z.number(), max: z.number(), integer: z.boolean(), what: z.string(), size: z.literal(true).optional(), choices: z.array(z.number()).optional() })),
});

const difference = z.strictObject({ path: z.string(), a: z.unknown().optional(), b: z.unknown().optional() });
const result = z.strictObject({ name: z.string(), as: z.enum(['share', 'count', 'seconds', 'word']), a: z.union([z.number(), z.string()]).optional(), b: z.union([z.number(), z.string()]).optional() });

const step = {
  run: z.string(), iteration: count.optional(), try: count.optional(), role: z.enum(['first-teacher', 'student', 'fine-tuned', 'control', 'comparison', 'imported']), comparison: z.string().optional(),
  decision: z.string(), best: z.boolean(), model: wire('ObjectRef'), architecture: z.string(), parameters: count, weights: digest.optional(), url: z.string().optional(), task: z.string(), training: digest.optional(),
  labeled: z.strictObject({ dataset: z.string(), images: count, manifest: digest, reviewed: digest.optional() }).optional(),
  selection: z.strictObject({ sha256: digest, labels: count, kept: count, rows: count, threshold: wire('LabelThreshold').optional(), shardsLost: count }).optional(),
  evaluation: z.strictObject({ sha256: digest, validation: right.optional(), test: right.optional() }).optional(),
  gate: wire('Gate').optional(),
};

const lineage: z.ZodType = z.strictObject({
  ...step,
  get begin(): z.ZodType {
    return lineage.optional();
  },
  get teacher(): z.ZodType {
    return lineage.optional();
  },
});

const reason = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['within-budget', 'below-threshold', 'reviewed', 'not-yet']) }),
  z.strictObject({ kind: z.enum(['above-cut', 'below-cut']), by: z.enum(['log-odds', 'hash']) }),
  z.strictObject({ kind: z.literal('near-duplicate'), part: z.enum(['validation', 'test']), of: z.string(), distance: count, correlation: z.number() }),
  z.strictObject({ kind: z.literal('shard-quarantined'), why: z.string() }),
]);

const explanation = z.strictObject({
  run: z.string(), key: z.string(), origin: z.string().optional(), shard: z.string(), dataset: z.string(), truth: namedClass.optional(), reviewed: namedClass.extend({ fromIteration: count }).optional(),
  iterations: z.array(z.strictObject({
    iteration: count, try: count, decision: z.string(), teacher: z.strictObject({ sha256: digest, iteration: count }), outcome: z.enum(['kept', 'dropped', 'left-out', 'labeled', 'waiting', 'lost']), reason, copies: count,
    label: namedClass.extend({ logOdds: z.number().nullable(), confidence: share, probabilities: z.array(namedClass.extend({ probability: share })), table: z.string() }).optional(),
    threshold: z.strictObject({ confidence: share, logOdds: z.number().nullable(), measured: wire('MeasuredPrecision').optional() }).optional(),
    ranking: z.strictObject({ eligible: count, budget: count, copies: count, oneMore: count, rankFrom: count, rankTo: count, cutLogOdds: z.number().nullable().optional() }).optional(),
    selection: z.string().optional(),
  })),
});

const reproduction = z.strictObject({
  run: z.string(), model: digest, parts: z.array(z.strictObject({ part: z.enum(['labels', 'selection', 'weights']), verdict: z.enum(['same', 'differs', 'failed', 'unchecked', 'absent']), tasks: count, deviceSeconds: seconds })),
  machine: wire('Machine').optional(),
  tasks: z.array(z.strictObject({
    taskId: z.string(), kind: z.enum(['label', 'select', 'train', 'replica', 'merge', 'import']), subject: z.string(), verdict: z.enum(['same', 'differs', 'failed']),
    outputs: z.array(z.strictObject({ name: z.string(), accepted: z.string(), again: z.string() })), note: z.string(), machine: wire('Machine').optional(),
  })),
});

const namedContext = z.strictObject({
  address: z.string().optional(), tls: z.strictObject({ ca: z.string().optional(), cert: z.string().optional(), key: z.string().optional(), serverName: z.string().optional() }).optional(),
  token: z.literal('REDACTED').optional(), tokenFile: z.string().optional(),
});

const plan = z.strictObject({
  name: z.string(), rounds: count, workers: z.int().min(1),
  groups: z.array(z.strictObject({ iteration: count, kind: z.string(), subject: z.string(), tasks: z.int().min(1), bytesRead: count, bytesWritten: count, deviceSeconds: seconds.optional() })),
  tasks: count, bytesRead: count, bytesWritten: count, deviceSeconds: seconds.optional(), wallSeconds: seconds.optional(), measuredIn: z.array(z.string()), notes: z.array(z.string()),
});

/** Kinds that are messages of the wire, as they are or with some fields more. */
const ofWire: Readonly<Record<string, { readonly message: string; readonly more?: z.ZodObject }>> = {
  Run: { message: 'RunView' }, RunSummary: { message: 'RunSummary' }, Worker: { message: 'WorkerView' }, ReconciledRun: { message: 'ReconciledRun' }, Task: { message: 'TaskView' }, TaskExplanation: { message: 'ExplainTaskResponse' },
  Status: { message: 'GetStatusResponse', more: z.strictObject({ address: z.string() }) },
  RunBudget: { message: 'Budget', more: z.strictObject({ runId: z.string(), state: z.string(), reason: z.string() }) },
  WorkerDescription: {
    message: 'WorkerView',
    more: z.strictObject({ tasks: z.array(z.strictObject({ runId: z.string(), taskId: z.string(), iteration: count, stage: z.string(), subject: z.string(), failures: count, progress: wire('Progress').optional() })) }),
  },
};

const own: Readonly<Record<string, z.ZodType>> = {
  LogLine: z.strictObject({ number: z.int().min(1), at: z.iso.datetime(), level: z.enum(['debug', 'info', 'warn', 'error', 'fatal']), workerId: z.string(), taskId: z.string(), text: z.string() }),
  GarbageCollection: z.strictObject({ applied: z.boolean(), garbage: z.array(z.strictObject({ why: z.enum(['attempt', 'checkpoint', 'labels', 'snapshot', 'dataset']), objects: count, bytes: count })), keptObjects: count, keptBytes: count, youngObjects: count, unknownRuns: z.array(z.string()) }),
  Event: z.strictObject({ runId: z.string(), number: z.int().min(1), at: z.iso.datetime(), event: z.string(), text: z.string(), iteration: count, taskId: z.string(), workerId: z.string() }),
  RunSubmitted: z.strictObject({ runId: z.string(), address: z.string() }),
  RunPlan: plan,
  RunDiff: z.strictObject({ a: z.string(), b: z.string(), recipe: z.array(difference), results: z.array(result) }),
  RecipeDiff: z.strictObject({ a: z.string(), b: z.string(), differences: z.array(difference) }),
  RecipeValidation: z.strictObject({ file: z.string(), valid: z.boolean(), problems: z.array(z.strictObject({ path: z.string(), line: count, reason: z.string() })), recipe: z.unknown().optional() }),
  ReadyRecipe: z.strictObject({ name: z.string(), summary: z.string() }),
  Model: model,
  TrainedModel: z.strictObject({
    name: z.string(), runId: z.string(), iteration: count.optional(), try: count.optional(), fineTuned: z.boolean(), label: z.string(), parameters: count, sha256: digest, bytes: count, validation: wire('Score').optional(), test: wire('Score').optional(), decision: z.string(), best: z.boolean(), trainSeconds: seconds,
  }),
  ModelDescription: z.strictObject({ ...step, teacherSha256: digest.optional(), beginSha256: digest.optional(), classNames: z.array(z.string()), image: wire('ImageSpec').optional(), weightsBytes: count.optional() }),
  ModelExport: z.strictObject({ runId: z.string(), iteration: count, called: z.string().optional(), folder: z.string(), files: z.array(z.string()).min(1) }),
  ModelMeasurement: z.strictObject({
    runId: z.string(), iteration: count, model: z.string(), parameters: count, multiplyAdds: count, bytes: z.record(z.string(), z.record(z.string(), count)), latencyP50Seconds: seconds, latencyP95Seconds: seconds, predictions: count, memoryBytes: z.strictObject({ peak: count, withoutModel: count }), device: z.string(), threads: count,
  }),
  Lineage: lineage,
  Reproduction: reproduction,
  SampleExplanation: explanation,
  ReviewImported: z.strictObject({ run: z.string(), images: count, changed: count, dataset: z.string().optional(), manifest: z.string().optional(), fromIteration: count.optional() }),
  Dataset: dataset,
  DatasetProblem: z.strictObject({ code: z.string(), file: z.string(), problem: z.string(), remedy: z.string() }),
  Context: namedContext.extend({ name: z.string(), current: z.boolean() }),
  Config: z.strictObject({ currentContext: z.string().optional(), contexts: z.record(z.string(), namedContext) }),
  Version: z.strictObject({ version: z.string(), node: z.string(), platform: z.string(), coordinator: z.strictObject({ address: z.string(), version: z.string().optional(), role: z.string().optional(), error: z.string().optional() }).optional() }),
  Top: z.strictObject({
    address: z.string(), role: z.string(), term: count, runs: z.array(wire('RunSummary')), workers: z.array(wire('WorkerView')),
    progress: z.array(z.strictObject({ runId: z.string(), stageDone: count, stageTotal: count, imagesPerSecond: z.number(), secondsLeft: seconds.optional() })),
  }),
  Check: z.strictObject({ name: z.string(), verdict: z.enum(['ok', 'warn', 'fail', 'skipped']), what: z.string(), remedy: z.string().optional() }),
  Bundle: z.strictObject({ file: z.string(), entries: z.array(z.string()), missing: z.array(z.string()) }),
};

/** Those that come in lists, as `KINDList`. */
const listed: ReadonlySet<string> = new Set(['RunSummary', 'Task', 'Event', 'LogLine', 'Worker', 'Status', 'ReconciledRun', 'ReadyRecipe', 'Model', 'TrainedModel', 'Dataset', 'DatasetProblem', 'Context', 'Check']);

const singles: readonly string[] = [...Object.keys(ofWire), ...Object.keys(own)];
export const kinds: readonly string[] = singles.flatMap((kind) => (listed.has(kind) ? [kind, `${kind}List`] : [kind])).sort();

interface ObjectSchema {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
}

/** A zod schema as JSON Schema, its own definitions apart. */
function fromZod(schema: z.ZodType): ObjectSchema & JsonSchema {
  const { $schema: _, ...made } = z.toJSONSchema(schema) as ObjectSchema & JsonSchema;
  return made;
}

/** What a kind is, without what makes it a document; what it refers to is told apart. */
function bodyOf(kind: string): { body: ObjectSchema & JsonSchema; definitions: Record<string, JsonSchema> } {
  const message = ofWire[kind];
  if (message === undefined) {
    const schema = own[kind];
    invariant(schema !== undefined, `there is a kind ${kind}`);
    const { $defs = {}, ...body } = fromZod(schema);
    // A document that holds its own kind: zod refers to it as the whole.
    const definitions = { ...$defs, ...wireDefinitions(messagesIn([body, $defs])) };
    const recursive = JSON.stringify(body).includes('"$ref":"#"');
    if (!recursive) return { body, definitions };
    const inner = JSON.parse(JSON.stringify(body).replaceAll('"$ref":"#"', `"$ref":"#/$defs/${kind}"`)) as ObjectSchema & JsonSchema;
    return { body: inner, definitions: { ...definitions, [kind]: inner } };
  }
  const more = message.more === undefined ? { properties: {}, required: [] } : fromZod(message.more);
  const { [message.message]: base, ...definitions } = wireDefinitions([message.message, ...messagesIn(more)]);
  const from = base as unknown as ObjectSchema & JsonSchema;
  return { body: { ...from, properties: { ...from.properties, ...more.properties }, required: [...(from.required ?? []), ...(more.required ?? [])] }, definitions };
}

/** Messages of the wire that a schema refers to. */
const messagesIn = (schema: unknown): string[] => [...JSON.stringify(schema).matchAll(/"\$ref":"#\/\$defs\/([A-Z]\w*)"/g)].flatMap(([, name]) => name ?? []);

/** The JSON Schema (draft 2020-12) of what `-o json` tells under this kind, and `-o jsonl` a line each; undefined where there is no such kind. */
export function kindSchema(kind: string): JsonSchema | undefined {
  if (!kinds.includes(kind)) return undefined;
  const single = kind.endsWith('List') && !singles.includes(kind) ? kind.slice(0, -'List'.length) : undefined;
  const { body, definitions } = bodyOf(single ?? kind);
  const properties = single === undefined ? body.properties : { items: { type: 'array', items: kind === 'StatusList' ? statusRow(body) : body } };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema', title: kind, type: 'object',
    properties: { apiVersion: { const: API_VERSION }, kind: { const: kind }, ...properties },
    required: ['apiVersion', 'kind', ...(single === undefined ? body.required ?? [] : ['items'])], additionalProperties: false,
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions }),
  };
}

/** Of one that did not answer only where, and why. */
const statusRow = (body: ObjectSchema): JsonSchema => ({ ...body, properties: { ...body.properties, error: { type: 'string' } }, required: ['address'] });
