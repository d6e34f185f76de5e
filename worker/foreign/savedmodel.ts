/**
 * TensorFlow SavedModels. What they take and give is read from saved_model.pb by itself, since tfjs-node's own reading
 * leaves out the shapes' sizes and whose variables are trained; loading and running is tfjs-node's.
 * Field numbers: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, saved_object_graph.proto, framework/graph.proto,
 * tensor_shape.proto and types.proto.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AlumnusError } from '../../proto/errors.ts';
import { loadTensorFlow } from '../tensorflow/index.ts';
import { unreadable, type ForeignModel, type Signature } from './model.ts';
import { entriesOf, messageOf, messagesOf, none, numberOf, numbersOf, text, textOf } from './protobuf.ts';
import { runTensorFlow } from './run-tensorflow.ts';

const SERVE = 'serve';
const VARIABLES = 'variables/variables.index';
/** What Keras and tf.saved_model.save call the signature for serving. */
const SIGNATURE = 'serving_default';
/** TensorFlow's own, which restores and initializes. */
const INTERNAL = '__saved_model_init_op';

/** tensorflow/core/framework/types.proto */
const dataTypes: Readonly<Record<number, string>> = { 1: 'float32', 2: 'float64', 3: 'int32', 4: 'uint8', 7: 'string', 9: 'int64', 10: 'bool', 14: 'bfloat16', 19: 'float16' };
const trainableTypes: ReadonlySet<number> = new Set([1, 2, 14, 19]);

export interface SavedModelAbout {
  readonly signature: string;
  readonly inputs: readonly Signature[];
  readonly outputs: readonly Signature[];
  readonly parameters: number | undefined;
  /** Whether it has values to restore from its folder `variables`. */
  readonly hasVariables: boolean;
}

/** @throws AlumnusError TEACHER_UNREADABLE */
export function aboutSavedModel(savedModel: Uint8Array): SavedModelAbout {
  const bad = (what: string): AlumnusError => new AlumnusError('TEACHER_UNREADABLE', what, { where: 'models.teacher' });
  // SavedModel.meta_graphs 2; MetaGraphDef.meta_info_def 1, its tags 4.
  const graphs = messagesOf(savedModel, 2).map((graph) => ({ graph, tags: messagesOf(messageOf(graph, 1) ?? none, 4).map(text) }));
  const served = graphs.find(({ tags }) => tags.length === 1 && tags[0] === SERVE)?.graph;
  if (served === undefined) throw bad(`the SavedModel holds no graph for serving (with the tag "${SERVE}"), but ${graphs.length === 0 ? 'none at all' : graphs.map(({ tags }) => JSON.stringify(tags)).join(', ')}`);
  // MetaGraphDef.signature_def 5.
  const signatures = new Map(entriesOf(served, 5).filter(([name]) => name !== INTERNAL));
  const name = signatures.has(SIGNATURE) ? SIGNATURE : [...signatures.keys()][0];
  const signature = signatures.get(name ?? '');
  if (name === undefined || signature === undefined) throw bad('the SavedModel has no signature: save it with one (Keras: model.export; else tf.saved_model.save with signatures=)');
  if (name !== SIGNATURE && signatures.size > 1) throw bad(`the SavedModel has the signatures ${[...signatures.keys()].join(', ')} and none of them is "${SIGNATURE}"`);
  // SignatureDef.inputs 1, outputs 2.
  return { signature: name, inputs: entriesOf(signature, 1).map(tensorOf), outputs: entriesOf(signature, 2).map(tensorOf), parameters: parametersOf(served, name), hasVariables: variableNodes(served).length > 0 };
}

/** TensorInfo: dtype 2, tensor_shape 3. */
function tensorOf([name, info]: [string, Uint8Array]): Signature {
  const shape = messageOf(info, 3);
  const type = numberOf(info, 2);
  return { name, dataType: dataTypes[type] ?? `type ${type}`, shape: shape === undefined ? undefined : sizesOf(shape) };
}

/** TensorShapeProto: dim 2, its size 1 (-1: any), unknown_rank 3. */
function sizesOf(shape: Uint8Array): (number | undefined)[] | undefined {
  if (numberOf(shape, 3) !== 0) return undefined;
  return messagesOf(shape, 2).map((dimension) => {
    const size = numberOf(dimension, 1);
    return size < 0 ? undefined : size;
  });
}

/** GraphDef.node 1; NodeDef.op 2. */
const variableNodes = (graph: Uint8Array): Uint8Array[] => messagesOf(messageOf(graph, 2) ?? none, 1).filter((node) => ['VarHandleOp', 'VariableV2', 'Variable'].includes(textOf(node, 2)));

/**
 * Of the trainable variables that the signature uses: the object graph (MetaGraphDef.object_graph_def 7) knows them, and may hold copies of them
 * and an optimizer's besides. A SavedModel of TensorFlow 1 has none, and all its variables count. Undefined where weights are constants of the graph.
 */
function parametersOf(graph: Uint8Array, signature: string): number | undefined {
  const objects = messageOf(graph, 7);
  let total = 0;
  const add = (type: number, shape: Uint8Array | undefined): void => {
    const sizes = shape === undefined || !trainableTypes.has(type) ? undefined : sizesOf(shape);
    if (sizes?.every((size) => size !== undefined) === true) total += sizes.reduce((product, size) => product * size, 1);
  };
  if (objects === undefined) {
    // NodeDef.attr 5; AttrValue: type 6, shape 7.
    for (const node of variableNodes(graph)) {
      const attributes = new Map(entriesOf(node, 5));
      add(numberOf(attributes.get('dtype') ?? none, 6), messageOf(attributes.get('shape') ?? none, 7));
    }
  } else {
    // SavedObjectGraph.nodes 1; SavedObject.variable 7; SavedVariable: dtype 1, shape 2, trainable 3.
    const nodes = messagesOf(objects, 1);
    for (const used of new Set(boundBy(objects, nodes, signature))) {
      const variable = messageOf(nodes[used] ?? none, 7);
      if (variable !== undefined && numberOf(variable, 3) !== 0) add(numberOf(variable, 1), messageOf(variable, 2));
    }
  }
  return total === 0 ? undefined : total;
}

/** Ids of the objects that the signature's function is bound to: root, its child `signatures`, that one's child of the signature's name, and what function that is. */
function boundBy(objects: Uint8Array, nodes: readonly Uint8Array[], signature: string): Iterable<number> {
  // SavedObject.children 1; ObjectReference: node_id 1, local_name 2.
  const child = (node: Uint8Array | undefined, name: string): Uint8Array | undefined => {
    const reference = messagesOf(node ?? none, 1).find((each) => textOf(each, 2) === name);
    return reference === undefined ? undefined : nodes[numberOf(reference, 1)];
  };
  const served = child(child(nodes[0], 'signatures'), signature) ?? none;
  // SavedObject: function 6, bare_concrete_function 8; the name of a concrete function is 1 of either.
  const name = textOf(messageOf(served, 8) ?? messageOf(served, 6) ?? none, 1);
  // SavedObjectGraph.concrete_functions 2; SavedConcreteFunction.bound_inputs 2.
  const concrete = new Map(entriesOf(objects, 2)).get(name);
  return concrete === undefined ? [] : numbersOf(concrete, 2);
}

export async function openSavedModel(folder: string): Promise<ForeignModel> {
  const { tf } = loadTensorFlow();
  let about: SavedModelAbout;
  try {
    about = aboutSavedModel(await readFile(join(folder, 'saved_model.pb')));
  } catch (thrown) {
    throw thrown instanceof AlumnusError ? thrown : unreadable('saved_model.pb is no SavedModel', thrown);
  }
  // TensorFlow would load it, and find out at the first image.
  if (about.hasVariables && !existsSync(join(folder, VARIABLES))) throw new AlumnusError('TEACHER_UNREADABLE', `saved_model.pb has variables, and ${VARIABLES} with their values is not beside it`, { where: 'models.teacher' });
  let model: Awaited<ReturnType<typeof tf.node.loadSavedModel>>;
  try {
    model = await tf.node.loadSavedModel(folder, [SERVE], about.signature);
  } catch (thrown) {
    throw unreadable('TensorFlow cannot load the SavedModel', thrown);
  }
  return {
    inputs: about.inputs, outputs: about.outputs, parameters: about.parameters,
    run: (input, images, output) => runTensorFlow(images, (tensor) => model.predict({ [input]: tensor }) as Record<string, typeof tensor>, output),
    dispose: () => void model.dispose(),
  };
}
