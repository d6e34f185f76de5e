/**
 * Writes a TensorFlow graph as the bytes of a SavedModel without variables: the subset of the protocol buffers
 * GraphDef, NodeDef, AttrValue and TensorProto that a trace or an export needs, by field number. Sessions are run by node name; signatures are for other readers.
 * Not for: reading models.
 * Field numbers: tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto,
 * tensorflow/core/protobuf/{saved_model,meta_graph}.proto.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { invariant } from '../../proto/errors.ts';

/** TF_DataType of tensorflow/c/tf_datatype.h. */
export const dataTypeCode = { float32: 1, int32: 3, uint8: 4, int8: 6, string: 7, bool: 10, float16: 19 } as const;

/** TF_AttrType of tensorflow/c/tf_attrtype.h. */
export const attributeKind = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5 } as const;

/** Oldest producer whose rules our graphs follow; TensorFlow 2.9 and later accept it. */
const producerVersion = 1087;

/** Operations whose GPU kernel refuses to run under TF_DETERMINISTIC_OPS, which load.ts sets. */
const cpuOperations: ReadonlySet<string> = new Set(['DenseBincount']);

type Write = (writer: BinaryWriter) => void;
export type AttributeValue = Write;

const message = (writer: BinaryWriter, field: number, body: Write): void => {
  writer.tag(field, WireType.LengthDelimited).fork();
  body(writer);
  writer.join();
};

const shapeBody = (shape: readonly number[]): Write => writer => {
  for (const size of shape) message(writer, 2, dimension => dimension.tag(1, WireType.Varint).int64(size));
};

export const attribute = {
  type: (code: number): Write => writer => writer.tag(6, WireType.Varint).int32(code),
  shape: (shape: readonly number[]): Write => writer => message(writer, 7, shapeBody(shape)),
  string: (text: string): Write => writer => writer.tag(2, WireType.LengthDelimited).bytes(new TextEncoder().encode(text)),
  tensor: (code: number, shape: readonly number[], values: ArrayBufferView): Write => writer => message(writer, 8, tensor => {
    tensor.tag(1, WireType.Varint).int32(code);
    message(tensor, 2, shapeBody(shape));
    tensor.tag(4, WireType.LengthDelimited).bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }),
  /** A list of strings as a tensor's value: TensorProto.string_val 8. */
  strings: (texts: readonly string[]): Write => writer => message(writer, 8, tensor => {
    tensor.tag(1, WireType.Varint).int32(dataTypeCode.string);
    message(tensor, 2, shapeBody([texts.length]));
    for (const text of texts) tensor.tag(8, WireType.LengthDelimited).string(text);
  }),
  /** An attribute as it was given to `executeOp`. */
  recorded({ name, type, value }: { name: string; type: number; value: unknown }): Write {
    if (type === attributeKind.shape) return attribute.shape(value as number[]);
    if (!Array.isArray(value)) return scalarAttribute(name, type, value);
    const items = value as unknown[];
    return writer => message(writer, 1, list => {
      for (const item of items) listItem(list, name, type, item);
    });
  },
};

function scalarAttribute(name: string, type: number, value: unknown): Write {
  switch (type) {
    case attributeKind.string: return attribute.string(String(value));
    case attributeKind.int: return writer => writer.tag(3, WireType.Varint).int64(Number(value));
    case attributeKind.float: return writer => writer.tag(4, WireType.Bit32).float(Number(value));
    case attributeKind.bool: return writer => writer.tag(5, WireType.Varint).bool(Boolean(value));
    case attributeKind.type: return attribute.type(Number(value));
    default: throw new Error(`invariant broken: attribute ${name} is of the unknown kind ${type}`);
  }
}

function listItem(list: BinaryWriter, name: string, type: number, item: unknown): void {
  switch (type) {
    case attributeKind.string: list.tag(2, WireType.LengthDelimited).bytes(new TextEncoder().encode(String(item))); break;
    case attributeKind.int: list.tag(3, WireType.Varint).int64(Number(item)); break;
    case attributeKind.float: list.tag(4, WireType.Bit32).float(Number(item)); break;
    case attributeKind.bool: list.tag(5, WireType.Varint).bool(Boolean(item)); break;
    default: throw new Error(`invariant broken: list attribute ${name} is of the unknown kind ${type}`);
  }
}

/** A tensor by the node whose first output it is. A size of -1 is any. */
export interface SignatureTensor { readonly node: string; readonly dataType: number; readonly shape: readonly number[] }
export interface Signature { readonly inputs: Readonly<Record<string, SignatureTensor>>; readonly outputs: Readonly<Record<string, SignatureTensor>> }

function signatureBody({ inputs, outputs }: Signature): Write {
  const entry = (field: number, name: string, { node, dataType, shape }: SignatureTensor) => (signature: BinaryWriter): void => message(signature, field, each => {
    each.tag(1, WireType.LengthDelimited).string(name);
    // TensorInfo: name 1, dtype 2, tensor_shape 3.
    message(each, 2, info => {
      info.tag(1, WireType.LengthDelimited).string(`${node}:0`).tag(2, WireType.Varint).int32(dataType);
      message(info, 3, shapeBody(shape));
    });
  });
  return writer => {
    for (const [name, tensor] of Object.entries(inputs)) entry(1, name, tensor)(writer);
    for (const [name, tensor] of Object.entries(outputs)) entry(2, name, tensor)(writer);
    writer.tag(3, WireType.LengthDelimited).string('tensorflow/serving/predict');
  };
}

export class GraphWriter {
  readonly #nodes: Uint8Array[] = [];
  readonly #names = new Set<string>();

  /**
   * Adds a node and returns its name. A control input is written `^name`, and stands after the data inputs.
   * TensorFlow chooses the device, but for operations that belong on the CPU.
   */
  node(operation: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>>, name = `${operation}_${this.#nodes.length}`): string {
    invariant(!this.#names.has(name), `graph node ${name} is written once`);
    this.#names.add(name);
    const writer = new BinaryWriter();
    writer.tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).string(operation);
    for (const input of inputs) writer.tag(3, WireType.LengthDelimited).string(input);
    if (cpuOperations.has(operation)) writer.tag(4, WireType.LengthDelimited).string('/device:CPU:0');
    for (const [key, body] of Object.entries(attributes)) {
      message(writer, 5, entry => {
        entry.tag(1, WireType.LengthDelimited).string(key);
        message(entry, 2, body);
      });
    }
    this.#nodes.push(writer.finish());
    return name;
  }

  get nodeCount(): number {
    return this.#nodes.length;
  }

  /** The bytes of `saved_model.pb`, one meta graph under `tag`. */
  savedModel(tag: string, signatures: Readonly<Record<string, Signature>> = {}): Uint8Array {
    const writer = new BinaryWriter();
    writer.tag(1, WireType.Varint).int64(1);
    message(writer, 2, metaGraph => {
      message(metaGraph, 1, info => info.tag(4, WireType.LengthDelimited).string(tag));
      message(metaGraph, 2, graph => {
        for (const node of this.#nodes) graph.tag(1, WireType.LengthDelimited).bytes(node);
        message(graph, 4, versions => versions.tag(1, WireType.Varint).int32(producerVersion));
      });
      for (const [name, signature] of Object.entries(signatures)) {
        message(metaGraph, 5, entry => {
          entry.tag(1, WireType.LengthDelimited).string(name);
          message(entry, 2, signatureBody(signature));
        });
      }
    });
    return writer.finish();
  }
}
