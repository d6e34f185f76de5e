/**
 * The pages of docs/reference, each written from the code alone: what a page says has one source, and `npm run docs` writes it anew.
 * tests/unit/docs/reference.test.ts holds the files against it. Not for: what a generator cannot say, which the other pages of docs/ do.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createFileRegistry, fromBinary, type DescField, type DescFile, type DescMessage, type DescService, ScalarType } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Command, Option } from 'commander';
import { Context } from '../../cli/context.ts';
import { rangeText } from '../../cli/recipe-models.ts';
import { createProgram } from '../../cli/program.ts';
import { errorTable, exitCode, grpcStatus } from '../../proto/errors.ts';
import { findModel, modelNames, recipeJsonSchema } from '../../recipe/index.ts';
import { recorder } from '../unit/cli/console.ts';
import { root } from './docs.ts';
import { coordinatorMetrics, workerMetrics, type Metric } from './metrics.ts';

const WRITTEN = '<!-- Written by `npm run docs` from the code: change that, not this. -->';
const page = (title: string, lead: string, ...parts: string[]): string => `${[`# ${title}`, `${WRITTEN}\n${lead}`, ...parts].join('\n\n')}\n`;
/** A bar ends a cell, and an angle begins HTML. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\s+/g, ' ').trim();
const code = (text: string): string => (text === '' ? '' : `\`${text.replaceAll('|', '\\|')}\``);
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
const nameOf = (named: Readonly<Record<string, number>>, value: number): string => Object.entries(named).find(([, each]) => each === value)?.[0] ?? String(value);

// -- the command line

const examplesOf = (command: Command): string => {
  let help = '';
  command.configureOutput({ writeOut: (text) => { help += text; }, getOutHelpWidth: () => 10_000, getOutHasColors: () => false });
  command.outputHelp();
  return /\nExamples?:\n((?: {2}.*\n?)+)/.exec(help)?.[1]?.replace(/^ {2}/gm, '').trimEnd() ?? '';
};

const flagRow = ({ flags, description, argChoices, defaultValue, mandatory }: Option): string[] =>
  [code(flags), [cell(description), argChoices === undefined ? '' : `one of ${argChoices.map(code).join(', ')}`, mandatory ? '**required**' : '', defaultValue === undefined ? '' : `default ${code(String(defaultValue))}`].filter((each) => each !== '').join('; ')];

function commandPart(command: Command, path: string, shared: ReadonlySet<string>): string[] {
  const acts = (command as unknown as { _actionHandler: unknown })._actionHandler !== null;
  const takes = command.registeredArguments.map((each) => `${each.required ? '<' : '['}${each.name()}${each.variadic ? '...' : ''}${each.required ? '>' : ']'}`);
  const own = command.options.filter(({ flags }) => !shared.has(flags));
  const part = [
    `## ${path}`, cell(command.description()).replace(/^(.*?\.) /, '$1\n\n'),
    ...(acts ? [code([path, ...takes].join(' '))] : []),
    ...(own.length === 0 ? [] : [table(['flag', 'what'], own.map(flagRow))]),
    ...(own.length < command.options.length ? ['And [which coordinator](#which-coordinator).'] : []),
  ];
  const examples = examplesOf(command);
  // As text: a reader's, not a test's, which has the same from the command itself.
  if (examples !== '') part.push(`\`\`\`text\n${examples}\n\`\`\``);
  return [part.join('\n\n'), ...command.commands.filter((each) => each.name() !== 'complete').flatMap((each) => commandPart(each, `${path} ${each.name()}`, shared))];
}

function cliPage(): string {
  const program = createProgram(new Context(recorder(), recorder(), {}));
  const which = program.commands.find((each) => each.name() === 'status')?.options.filter((option) => option.helpGroupHeading === 'Coordinator:') ?? [];
  const shared = new Set(which.map(({ flags }) => flags));
  return page(
    'Reference: the command line', 'Every command with its flags, as `alumnus COMMAND --help` has them. [The command line](../cli.md) says what goes where, and what to do when something goes wrong.',
    `## Exit codes\n\n${table(['code', 'name'], Object.entries(exitCode).map(([name, value]) => [String(value), name]))}`,
    `## Which coordinator\n\nFlags of every command that talks to one.\n\n${table(['flag', 'what'], which.map(flagRow))}`,
    ...program.commands.filter((each) => each.name() !== 'complete').flatMap((each) => commandPart(each, `alumnus ${each.name()}`, shared)),
  );
}

// -- the recipe

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number | boolean)[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

function valuesOf(schema: Schema): string {
  const { type, minimum, exclusiveMinimum, maximum, exclusiveMaximum } = schema;
  if (schema.const !== undefined) return code(String(schema.const));
  if (schema.enum !== undefined) return schema.enum.map((each) => code(String(each))).join(', ');
  const either = schema.anyOf ?? schema.oneOf;
  if (either !== undefined) return either.every(({ properties }) => properties !== undefined) ? 'one of several' : either.map(valuesOf).join(', or ');
  if (type === 'array') return `list${schema.minItems === undefined && schema.maxItems === undefined ? '' : ` of ${schema.minItems ?? 0} to ${schema.maxItems ?? 'any number'}`}`;
  if (type !== 'integer' && type !== 'number') return type === 'string' ? 'text' : type === 'boolean' ? '`true`, `false`' : type === 'object' ? '' : (type ?? '');
  const number = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 6 });
  const least = minimum !== undefined ? `${number(minimum)}` : exclusiveMinimum !== undefined ? `above ${number(exclusiveMinimum)}` : '';
  // What JSON counts to is no bound.
  const most = maximum === Number.MAX_SAFE_INTEGER ? '' : maximum !== undefined ? `${number(maximum)}` : exclusiveMaximum !== undefined ? `below ${number(exclusiveMaximum)}` : '';
  return `${type === 'integer' ? 'whole number' : 'number'}${least === '' && most === '' ? '' : `, ${least}${most === '' ? ' or more' : ` to ${most}`}`}`;
}

/** Where a choice has branches of fields, each is told by the field that names it. */
function rowsOf(schema: Schema, path: string): string[][] {
  const branches = (schema.oneOf ?? schema.anyOf ?? []).filter(({ properties }) => properties !== undefined);
  const fields = [...branches, ...(schema.properties === undefined ? [] : [schema]), ...(schema.items?.properties === undefined ? [] : [schema.items])].flatMap((owner) => {
    const tag = branches.includes(owner) ? Object.values(owner.properties ?? {}).find((each) => each.const !== undefined)?.const : undefined;
    return Object.entries(owner.properties ?? {}).map(([name, field]) => ({ name, field, tag, required: owner.required?.includes(name) === true && field.default === undefined }));
  });
  return fields.flatMap(({ name, field, tag, required }) => {
    const at = `${path}${path === '' ? '' : '.'}${name}`;
    const initial = field.default;
    const said = initial === undefined || (typeof initial === 'object' && initial !== null && Object.keys(initial).length === 0) ? (required ? '**required**' : '') : code(JSON.stringify(initial));
    const row = [
      `${code(at)}${tag === undefined || field.const !== undefined ? '' : ` (${code(String(tag))})`}`, valuesOf(field), said, cell(field.description ?? ''),
    ];
    // Of what only holds others those tell.
    return [...(row.slice(1).every((text) => text === '') ? [] : [row]), ...rowsOf(field, field.items === undefined ? at : `${at}[]`)];
  });
}

function recipePage(): string {
  const { properties = {}, required = [] } = recipeJsonSchema() as Schema;
  const sections = Object.entries(properties).map(([name, field]): { name: string; rows: string[][] } => ({ name, rows: rowsOf({ properties: { [name]: field }, required }, '') }));
  const small = sections.filter(({ rows }) => rows.length === 1);
  const models = modelNames.flatMap((name) => findModel(name) ?? []);
  const families = [...new Map(models.map((model) => [model.family, model])).values()];
  const head = ['field', 'values', 'default', 'what'];
  return page(
    'Reference: the recipe', 'Every field with its values and its default, from the schema that validates recipes. What to think about is on [the recipe](../recipe.md); `alumnus recipe schema` prints the same for editors.',
    `## At the top\n\n${table(head, small.flatMap(({ rows }) => rows))}`,
    ...sections.filter(({ rows }) => rows.length > 1).map(({ name, rows }) => `## ${name}\n\n${table(head, rows)}`),
    `## Models\n\nOptions beside the name, as in \`{ model: cnn, width: 24 }\`; a family's members differ in their defaults, which \`alumnus recipe models NAME\` prints.\n\n${table(['family', 'names', 'option', 'values', 'what'], families.flatMap(({ family, options }) =>
      Object.entries(options).map(([option, range], at) => [at === 0 ? code(family) : '', at === 0 ? models.filter((each) => each.family === family).map(({ name }) => code(name)).join(', ') : '', code(option), rangeText(range), cell(range.what)])))}`,
  );
}

// -- errors, metrics

const errorsPage = (): string => page(
  'Reference: errors', 'Every code of `proto/errors.ts`. An error says what, where, what to do next, and its code in brackets; codes are stable, sentences are not. *Again*: whether another try may succeed.',
  table(['code', 'again', 'exit code', 'gRPC status', 'what to do'], Object.entries(errorTable).map(([name, { kind, exit, grpc, remedy }]) => [code(name), kind === 'retryable' ? 'yes' : '', `${exit} ${nameOf(exitCode, exit)}`, nameOf(grpcStatus, grpc), cell(remedy)])),
);

const metricRows = (metrics: readonly Metric[]): string => table(['metric', 'type', 'labels', 'what'], metrics.map(({ name, type, labelNames, help }) => [code(name), type, labelNames.map(code).join(', '), cell(help)]));

const metricsPage = (): string => page(
  'Reference: metrics', 'Every series of ours, as the processes register it. How to have them scraped, panels and alerts: [metrics](../metrics.md).',
  `## Coordinators\n\n${metricRows(coordinatorMetrics())}`, `## Workers\n\n${metricRows(workerMetrics())}`,
);

// -- the API

const PACKAGE = 'alumnus.v1.';
const short = (name: string): string => name.replace(PACKAGE, '');
/** Of descriptor.proto: where a file has its messages and services, a message its fields and nested messages, a service its methods. */
const MESSAGES = 4;
const SERVICES = 6;
const FIELDS = 2;
const NESTED = 3;
const METHODS = 2;

/** What stands above each in the files, by its descriptor. */
function commentsOf(files: readonly DescFile[]): ReadonlyMap<object, string> {
  const found = new Map<object, string>();
  for (const file of files) {
    const leading = new Map(file.proto.sourceCodeInfo?.location.map(({ path, leadingComments }) => [path.join('.'), leadingComments]));
    const take = (each: object, ...path: number[]): void => void found.set(each, cell(leading.get(path.join('.')) ?? ''));
    const takeMessage = (message: DescMessage, ...path: number[]): void => {
      take(message, ...path);
      message.fields.forEach((field, at) => take(field, ...path, FIELDS, at));
      message.nestedMessages.forEach((nested, at) => takeMessage(nested, ...path, NESTED, at));
    };
    file.messages.forEach((message, at) => takeMessage(message, MESSAGES, at));
    file.services.forEach((service, at) => {
      take(service, SERVICES, at);
      service.methods.forEach((method, of) => take(method, SERVICES, at, METHODS, of));
    });
  }
  return found;
}

const linked = (message: DescMessage): string => `[${short(message.typeName)}](#${short(message.typeName).toLowerCase()})`;

function typeText(field: DescField): string {
  const scalar = (type: ScalarType): string => code(ScalarType[type].toLowerCase());
  switch (field.fieldKind) {
    case 'scalar': return scalar(field.scalar);
    case 'message': return linked(field.message);
    case 'enum': return code(short(field.enum.typeName));
    case 'list': return `list of ${field.listKind === 'message' ? linked(field.message) : field.listKind === 'enum' ? code(short(field.enum.typeName)) : scalar(field.scalar)}`;
    case 'map': return `map from ${scalar(field.mapKey)} to ${field.mapKind === 'message' ? linked(field.message) : field.mapKind === 'enum' ? code(short(field.enum.typeName)) : scalar(field.scalar)}`;
  }
}

const serviceText = (service: DescService, said: (each: object) => string): string => `## ${short(service.typeName)}\n\n${[said(service), table(['method', 'takes', 'gives', 'what'], service.methods.map((method) =>
  [code(method.name), linked(method.input), `${method.methodKind === 'server_streaming' ? 'stream of ' : ''}${linked(method.output)}`, said(method)]))].filter((each) => each !== '').join('\n\n')}`;

const messageText = (message: DescMessage, said: (each: object) => string): string => [
  `### ${short(message.typeName)}`, said(message),
  message.fields.length === 0 ? 'No fields.' : table(['field', 'number', 'type', 'what'], message.fields.map((field) => [code(field.name), String(field.number), `${typeText(field)}${field.oneof === undefined ? '' : `, one of ${code(field.oneof.name)}`}`, said(field)])),
].filter((each) => each !== '').join('\n\n');

function apiPage(): string {
  const built = execFileSync(process.execPath, [join(root, 'node_modules/@bufbuild/buf/bin/buf'), 'build', '--as-file-descriptor-set', '--output', '-#format=binpb'], { cwd: root, maxBuffer: 64 * 1024 * 1024, stdio: ['ignore', 'pipe', 'inherit'] });
  const files = [...createFileRegistry(fromBinary(FileDescriptorSetSchema, built)).files].filter((file) => file.proto.package === PACKAGE.slice(0, -1)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const comments = commentsOf(files);
  const said = (each: object): string => comments.get(each) ?? '';
  return page(
    'Reference: the API', 'Services and messages of `proto/alumnus/v1`, with what stands beside them there. How to call, errors, time and compatibility: [the API](../api.md).',
    ...files.flatMap(({ services }) => services).map((service) => serviceText(service, said)),
    ...files.flatMap((file) => [`## ${file.name}.proto`, ...file.messages.flatMap((each) => [each, ...each.nestedMessages.filter(({ proto }) => proto.options?.mapEntry !== true)]).map((message) => messageText(message, said))]),
  );
}

/** Each page's text, by its name. */
export const referencePages: Readonly<Record<string, () => string>> = { cli: cliPage, recipe: recipePage, errors: errorsPage, metrics: metricsPage, api: apiPage };
