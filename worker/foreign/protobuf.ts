/**
 * As much of protocol buffers as it takes to look into a model's file: the fields of a message, one after another. Field
 * numbers stand where they are used, with the .proto that they are of.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

export interface Field {
  readonly number: number;
  /** Of a number; 0 for everything else. Exact up to 2^53; sizes and types are far below. */
  readonly value: number;
  /** Of a message, a string, bytes or packed numbers; empty for everything else. A view, no copy. */
  readonly bytes: Uint8Array;
}

/** An empty message: of what is not there every field is 0 or empty. */
export const none = new Uint8Array();

/** @throws Error where the bytes are no protocol buffer */
export function* fieldsOf(message: Uint8Array): Iterable<Field> {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType === WireType.Varint) yield { number, value: Number(reader.int64()), bytes: none };
    else if (wireType === WireType.LengthDelimited) yield { number, value: 0, bytes: reader.bytes() };
    else {
      reader.skip(wireType, number);
      yield { number, value: 0, bytes: none };
    }
  }
}

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The messages of a repeated field, or the one of a single field. */
export const messagesOf = (message: Uint8Array, number: number): Uint8Array[] => [...fieldsOf(message)].filter((field) => field.number === number).map(({ bytes }) => bytes);

/** The last of a single field, as protocol buffers want it. */
export const numberOf = (message: Uint8Array, number: number): number => [...fieldsOf(message)].findLast((field) => field.number === number)?.value ?? 0;
export const messageOf = (message: Uint8Array, number: number): Uint8Array | undefined => messagesOf(message, number).at(-1);
export const textOf = (message: Uint8Array, number: number): string => text(messageOf(message, number) ?? none);

/** A map's entries: key 1, value 2. */
export const entriesOf = (message: Uint8Array, number: number): [string, Uint8Array][] => messagesOf(message, number).map((entry) => [textOf(entry, 1), messageOf(entry, 2) ?? none]);

/** Repeated whole numbers, packed or not. */
export function* numbersOf(message: Uint8Array, number: number): Iterable<number> {
  for (const field of fieldsOf(message)) {
    if (field.number !== number) continue;
    if (field.bytes.length === 0) {
      yield field.value;
      continue;
    }
    const reader = new BinaryReader(field.bytes);
    while (reader.pos < reader.len) yield Number(reader.int64());
  }
}
