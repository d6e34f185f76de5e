/**
 * A program is a pure function of variables and inputs. `interpret` runs it operation by operation, as tfjs does;
 * `compile` traces it once and runs it as one TensorFlow graph. Both keep the variables on the device between runs and
 * give the same results: to the bit on a CPU with a fixed number of threads. The interpreter is the reference that
 * tests compare with; products compile.
 * Not for: training loops, models.
 * Invariants:
 *   1. Shapes are fixed, and whatever changes from run to run is an input; JavaScript numbers become constants.
 *   2. A run reads every variable before it assigns any.
 *   3. No memory of JavaScript outlives a call inside the session: TensorFlow would free it on a thread of its own.
 *   4. After `dispose` nothing of the program is left, in memory or on disk.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invariant } from '../../proto/errors.ts';
import { attribute, dataTypeCode, GraphWriter } from './graph.ts';
import type { Tensor, TensorFlow } from './load.ts';

export type DataType = 'float32' | 'int32' | 'uint8';
export type HostArray = Float32Array | Int32Array | Uint8Array;
export interface TensorSpec { readonly shape: readonly number[]; readonly dataType: DataType }
export type Tensors = Record<string, Tensor>;

export interface Program {
  readonly name: string;
  readonly variables: Readonly<Record<string, TensorSpec>>;
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  /**
   * Outputs, and the next value of each variable that changes. A `uint8` input may only be passed to
   * `operations.fromBytes`, because tfjs has no such type.
   */
  run(variables: Tensors, inputs: Tensors): { outputs: Tensors; updates: Tensors };
}

export interface Executable {
  /** Sets variables; those that are not named keep their values. Compiled programs take all of them at once. */
  write(values: Readonly<Record<string, HostArray>>): void;
  /** One run: inputs in, outputs out, variables moved on. */
  run(inputs: Readonly<Record<string, HostArray>>): Record<string, Float32Array | Int32Array>;
  read(): Record<string, Float32Array>;
  dispose(): void;
}

/** The tag of the one meta graph in the SavedModel. */
const modelTag = 'serve';

const sizeOf = (spec: TensorSpec): number => spec.shape.reduce((product, size) => product * size, 1);

function zeros(spec: TensorSpec): HostArray {
  const size = sizeOf(spec);
  return spec.dataType === 'float32' ? new Float32Array(size) : spec.dataType === 'int32' ? new Int32Array(size) : new Uint8Array(size);
}

function upload(engine: TensorFlow, name: string, spec: TensorSpec, values: HostArray | undefined): number {
  invariant(values !== undefined, `a value for ${name} is given`);
  invariant(values.length === sizeOf(spec), `${name} has ${sizeOf(spec)} elements, not ${values.length}`);
  return engine.binding.createTensor([...spec.shape], dataTypeCode[spec.dataType], values);
}

const asTensor = (engine: TensorFlow, id: number, spec: TensorSpec): Tensor =>
  engine.backend.createOutputTensor({ id, shape: [...spec.shape], dtype: dataTypeCode[spec.dataType] });

function idOf(engine: TensorFlow, tensor: Tensor): number {
  const id = engine.backend.getInputTensorIds([tensor])[0];
  invariant(id !== undefined, 'a tensor has an id');
  return id;
}

function checkUpdates(program: Program, updates: Tensors): void {
  for (const [name, tensor] of Object.entries(updates)) {
    const spec = program.variables[name];
    invariant(spec !== undefined, `${program.name} updates ${name}, which is a variable of it`);
    invariant(tensor.shape.join() === spec.shape.join(), `${program.name} keeps the shape [${spec.shape.join()}] of ${name}, not [${tensor.shape.join()}]`);
  }
}

/** Runs a program one operation at a time: slow, and the reference for `compile`. */
export function interpret(engine: TensorFlow, program: Program): Executable {
  const { tf } = engine;
  let variables: Tensors = {};
  const replace = (next: Tensors): void => {
    for (const [name, tensor] of Object.entries(next)) {
      variables[name]?.dispose();
      variables[name] = tf.keep(tensor);
    }
  };
  return {
    write(values) {
      tf.tidy(() => {
        replace(Object.fromEntries(Object.entries(values).map(([name, value]) => {
          const spec = program.variables[name];
          invariant(spec !== undefined && spec.dataType !== 'uint8', `${name} is a variable of ${program.name}`);
          return [name, tf.tensor(value.slice(), [...spec.shape], spec.dataType)];
        })));
      });
    },
    run(inputs) {
      let kept: Tensors = {};
      const results: Tensors = tf.tidy(() => {
        const fed = Object.fromEntries(Object.entries(program.inputs).map(([name, spec]) => [name, asTensor(engine, upload(engine, name, spec, inputs[name]), spec)]));
        const { outputs, updates } = program.run({ ...variables }, fed);
        checkUpdates(program, updates);
        // A clone, because an update may be a variable itself, which `replace` disposes.
        kept = Object.fromEntries(Object.entries(updates).map(([name, tensor]) => [name, tf.keep(tensor.clone())]));
        return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.clone()]));
      });
      replace(kept);
      return Object.fromEntries(Object.entries(results).map(([name, tensor]) => {
        const values = tensor.dataSync() as Float32Array | Int32Array;
        tensor.dispose();
        return [name, values];
      }));
    },
    read: () => Object.fromEntries(Object.entries(variables).map(([name, tensor]) => [name, Float32Array.from(tensor.dataSync())])),
    dispose() {
      for (const tensor of Object.values(variables)) tensor.dispose();
      variables = {};
    },
  };
}

/**
 * The same program with its variables fixed to `values`: compiled, they are constants of the graph, so that TensorFlow's optimizer computes once what
 * depends on them alone, and oneDNN keeps the kernels in its own layout instead of laying them out in every run.
 * The graph holds all values, and TensorFlow keeps several copies of it; what is larger than 2 GiB it does not take.
 */
export function fixed(engine: TensorFlow, program: Program, values: Readonly<Record<string, HostArray>>): Program {
  invariant(Object.values(program.variables).every(({ dataType }) => dataType === 'float32'), `${program.name} has variables of float32 only`);
  return {
    name: program.name, variables: {}, inputs: program.inputs,
    run(_, inputs) {
      const constants = Object.fromEntries(Object.entries(program.variables).map(([name, spec]) => {
        const given = values[name];
        invariant(given?.length === sizeOf(spec), `a value for ${name} is given, of ${sizeOf(spec)} elements`);
        return [name, engine.tf.tensor(given, [...spec.shape], 'float32')];
      }));
      const { outputs, updates } = program.run(constants, inputs);
      invariant(Object.keys(updates).length === 0, `${program.name} changes no variable`);
      return { outputs, updates };
    },
  };
}

interface Trace { bytes: Uint8Array; variables: string[]; inputs: string[]; outputs: string[]; nodes: number }

/** Node names: variables and inputs by index, because names of parameters may hold what TensorFlow forbids in a node's. */
const variableNode = (index: number): string => `variable_${index}`;
const inputNode = (index: number): string => `input_${index}`;
const outputNode = (index: number): string => `output_${index}`;

function trace(engine: TensorFlow, program: Program): Trace {
  const graph = new GraphWriter();
  const sources = new Map<number, string>();
  const source = (id: number, user: string): string => {
    const found = sources.get(id);
    invariant(found !== undefined, `${program.name}: ${user} uses a tensor that was made outside the program`);
    return found;
  };
  const variables = Object.keys(program.variables);
  const inputs = Object.keys(program.inputs);

  const declare = (specs: Readonly<Record<string, TensorSpec>>, names: readonly string[], nodeOf: (index: number, spec: TensorSpec) => string): Tensors =>
    Object.fromEntries(names.map((name, index) => {
      const spec = specs[name]!;
      const id = upload(engine, name, spec, zeros(spec));
      sources.set(id, nodeOf(index, spec));
      return [name, asTensor(engine, id, spec)];
    }));

  // A copy (invariant 3): a variable that is assigned a fed tensor, or a reshape of one, shares its memory.
  const fedSource = (node: string, { dataType, shape }: TensorSpec): string => {
    const type = attribute.type(dataTypeCode[dataType]);
    graph.node('Placeholder', [], { dtype: type, shape: attribute.shape(shape) }, node);
    return graph.node('DeepCopy', [node], { T: type });
  };
  const variableSource = (index: number, spec: TensorSpec): string => {
    const type = attribute.type(dataTypeCode[spec.dataType]);
    const shape = attribute.shape(spec.shape);
    const node = variableNode(index);
    graph.node('VarHandleOp', [], { dtype: type, shape, shared_name: attribute.string(node) }, node);
    graph.node('AssignVariableOp', [node, fedSource(`${node}_value`, spec)], { dtype: type }, `${node}_write`);
    return graph.node('ReadVariableOp', [node], { dtype: type }, `${node}_read`);
  };
  const inputSource = (index: number, spec: TensorSpec): string => fedSource(inputNode(index), spec);

  let outputs: string[] = [];
  engine.tf.tidy(() => {
    const state = declare(program.variables, variables, variableSource);
    const fed = declare(program.inputs, inputs, inputSource);
    const result = engine.record({
      constant(id, shape, dataType, values) {
        sources.set(id, graph.node('Const', [], { dtype: attribute.type(dataType), value: attribute.tensor(dataType, shape, values) }));
      },
      operation(name, attributes, inputIds, results) {
        const node = graph.node(name, inputIds.map(id => source(id, name)), Object.fromEntries(attributes.map(item => [item.name, attribute.recorded(item)])));
        results.forEach((output, index) => sources.set(output.id, index === 0 ? node : `${node}:${index}`));
      },
    }, () => {
      const ran = program.run(state, fed);
      // Values that no operation has touched reach the device, and the recorder, only when somebody asks for their id.
      for (const tensor of [...Object.values(ran.outputs), ...Object.values(ran.updates)]) idOf(engine, tensor);
      return ran;
    });
    checkUpdates(program, result.updates);
    outputs = Object.keys(result.outputs);
    // One node between all reads and all assignments, because an edge from each to each (a transformer with AdamW has 600 variables) costs seconds of the first run.
    const allRead = graph.node('NoOp', variables.map((_, index) => `^${variableNode(index)}_read`), {}, 'all_read');
    const assigned = Object.entries(result.updates).map(([name, tensor]) => {
      const index = variables.indexOf(name);
      const node = variableNode(index);
      const value = source(idOf(engine, tensor), name);
      const dtype = attribute.type(dataTypeCode[program.variables[name]!.dataType]);
      return graph.node('AssignVariableOp', [node, value, `^${allRead}`], { dtype }, `${node}_assign`);
    });
    outputs.forEach((name, index) => {
      const tensor = result.outputs[name]!;
      invariant(tensor.dtype === 'float32' || tensor.dtype === 'int32', `${program.name}: output ${name} is a number`);
      graph.node('Identity', [source(idOf(engine, tensor), name), ...assigned.map(node => `^${node}`)], { T: attribute.type(dataTypeCode[tensor.dtype]) }, outputNode(index));
    });
  });
  graph.node('Const', variables.map((_, index) => `^${variableNode(index)}_write`), { dtype: attribute.type(dataTypeCode.int32), value: attribute.tensor(dataTypeCode.int32, [], new Int32Array(1)) }, 'written');
  return { bytes: graph.savedModel(modelTag), variables, inputs, outputs, nodes: graph.nodeCount };
}

/** Loads a graph into a session of its own. The folder is named by the graph's digest and gone when this returns. */
function openSession(engine: TensorFlow, bytes: Uint8Array): number {
  const parent = mkdtempSync(join(tmpdir(), 'alumnus-graph-'));
  try {
    const folder = join(parent, createHash('sha256').update(bytes).digest('hex'));
    mkdirSync(folder);
    writeFileSync(join(folder, 'saved_model.pb'), bytes);
    return engine.binding.loadSavedModel(folder, modelTag);
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}

/** Traces a program once and runs it as one graph from then on. */
export function compile(engine: TensorFlow, program: Program): Executable {
  const { binding } = engine;
  const traced = trace(engine, program);
  const session = openSession(engine, traced.bytes);
  const inputNames = traced.inputs.map((_, index) => `${inputNode(index)}:0`).join();
  const outputNames = traced.outputs.map((_, index) => `${outputNode(index)}:0`).join();
  const readNames = traced.variables.map((_, index) => `${variableNode(index)}_read:0`).join();
  const writeNames = traced.variables.map((_, index) => `${variableNode(index)}_value:0`).join();
  let open = true;

  const execute = (ids: readonly number[], feeds: string, fetches: string): (Float32Array | Int32Array)[] => {
    invariant(open, `${program.name} runs before it is disposed`);
    try {
      return binding.runSavedModel(session, [...ids], feeds, fetches).map(({ id }) => {
        const values = binding.tensorDataSync(id) as Float32Array | Int32Array;
        binding.deleteTensor(id);
        return values;
      });
    } finally {
      for (const id of ids) binding.deleteTensor(id);
    }
  };
  const feed = (specs: Readonly<Record<string, TensorSpec>>, names: readonly string[], values: Readonly<Record<string, HostArray>>): number[] =>
    names.map(name => upload(engine, name, specs[name]!, values[name]));

  return {
    write(values) {
      if (traced.variables.length > 0) execute(feed(program.variables, traced.variables, values), writeNames, 'written:0');
    },
    run(inputs) {
      const results = execute(feed(program.inputs, traced.inputs, inputs), inputNames, outputNames);
      return Object.fromEntries(traced.outputs.map((name, index) => [name, results[index]!]));
    },
    read() {
      const results = traced.variables.length === 0 ? [] : execute([], '', readNames);
      return Object.fromEntries(traced.variables.map((name, index) => [name, Float32Array.from(results[index]!)]));
    },
    dispose() {
      if (!open) return;
      open = false;
      binding.deleteSavedModel(session);
    },
  };
}
