/**
 * Messages of the wire as JSON Schema, in the form in which programs are told them (proto/machine.ts): from the same descriptors that the types are made of,
 * so that no second description can disagree. What the wire always says is required; what it may leave out, or says 0 for, is not.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createFileRegistry, fromBinary, ScalarType, type DescField, type DescMessage, type FileRegistry } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { invariant } from '../../proto/errors.ts';
import { machineField } from '../../proto/machine.ts';
import { packageFolder } from '../../proto/version.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Written beside the generated types (deploy/setup/protocol.mjs). */
const DESCRIPTORS = 'proto/gen/alumnus.binpb';
const PACKAGE = 'alumnus.v1.';

let registry: FileRegistry | undefined;
const messageOf = (name: string): DescMessage => {
  registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(join(packageFolder(), DESCRIPTORS))));
  const message = registry.getMessage(`${PACKAGE}${name}`);
  invariant(message !== undefined, `the wire has a message ${name}`);
  return message;
};

const INSTANT: JsonSchema = { type: 'string', format: 'date-time' };
const FRACTIONAL: ReadonlySet<ScalarType> = new Set([ScalarType.DOUBLE, ScalarType.FLOAT]);

export const reference = (name: string): JsonSchema => ({ $ref: `#/$defs/${name}` });

function scalar(type: ScalarType): JsonSchema {
  if (type === ScalarType.STRING) return { type: 'string' };
  if (type === ScalarType.BOOL) return { type: 'boolean' };
  // JSON has no number for what is not finite.
  return FRACTIONAL.has(type) ? { type: ['number', 'null'] } : { type: 'integer' };
}

/** @param wanted messages that are referred to, by name */
function single(field: DescField, wanted: Set<string>): JsonSchema {
  const { as } = machineField(field.localName);
  if (as === 'document') return {};
  if (as === 'instant') return INSTANT;
  if (as === 'seconds') return { type: ['number', 'null'] };
  const message = field.fieldKind === 'message' || field.fieldKind === 'list' ? field.message : undefined;
  if (message !== undefined) {
    const name = message.typeName.slice(PACKAGE.length);
    wanted.add(name);
    return reference(name);
  }
  if (field.fieldKind === 'enum' || (field.fieldKind === 'list' && field.listKind === 'enum')) return { type: as === 'stage' ? 'string' : 'integer' };
  invariant(field.fieldKind === 'scalar' || field.fieldKind === 'list', 'the wire has scalars, messages, lists and maps of scalars');
  return scalar(field.scalar ?? ScalarType.STRING);
}

function propertyOf(field: DescField, wanted: Set<string>): JsonSchema {
  if (field.fieldKind === 'list') return { type: 'array', items: single(field, wanted) };
  if (field.fieldKind === 'map') {
    invariant(field.mapKind === 'scalar', 'maps hold scalars');
    return { type: 'object', additionalProperties: scalar(field.scalar) };
  }
  return single(field, wanted);
}

const isAlways = (field: DescField): boolean =>
  field.fieldKind === 'list' || field.fieldKind === 'map' || (field.fieldKind !== 'message' && field.presence === FeatureSet_FieldPresence.IMPLICIT && machineField(field.localName).as !== 'instant');

function schemaOf(message: DescMessage, wanted: Set<string>): JsonSchema {
  const properties: Record<string, unknown> = {};
  const required: string[] = [];
  for (const member of message.members) {
    if (member.kind === 'oneof') {
      // One of its fields, by its name.
      properties[member.localName] = { type: 'object', properties: Object.fromEntries(member.fields.map((field) => [field.localName, propertyOf(field, wanted)])), additionalProperties: false, minProperties: 1, maxProperties: 1 };
      continue;
    }
    const { name } = machineField(member.localName);
    properties[name] = propertyOf(member, wanted);
    if (isAlways(member)) required.push(name);
  }
  return { type: 'object', properties, ...(required.length === 0 ? {} : { required }), additionalProperties: false };
}

/** Messages by name, with all that they refer to. */
export function wireDefinitions(names: Iterable<string>): Record<string, JsonSchema> {
  const definitions: Record<string, JsonSchema> = {};
  const left = new Set(names);
  for (const name of left) definitions[name] = schemaOf(messageOf(name), left);
  return definitions;
}
