/** Models of TF.js: `model.json` with its weight files, in layers format or as a graph. Loading and running is TF.js's own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parameterCount } from '../../recipe/index.ts';
import { savedArchitecture } from '../learning/index.ts';
import { loadTensorFlow, type Tensor, type TensorFlow } from '../tensorflow/index.ts';
import { unreadable, type ForeignModel, type Signature } from './model.ts';
import { runTensorFlow } from './run-tensorflow.ts';

type LayersModel = Awaited<ReturnType<TensorFlow['tf']['loadLayersModel']>>;

export const TFJS_FILE = 'model.json';

export interface TfjsJson {
  readonly format?: unknown;
  readonly modelTopology?: { readonly node?: unknown };
  readonly weightsManifest?: readonly { readonly paths?: readonly unknown[]; readonly weights?: readonly { readonly dtype?: string; readonly shape?: readonly number[] }[] }[];
}

interface Described { readonly name: string; readonly shape?: readonly (number | null)[] | null | undefined; readonly dtype?: string | undefined }

/** The sizes of `shape`, of which TF.js marks those that vary by null or by a negative number. */
const signatureOf = ({ name, shape, dtype }: Described): Signature =>
  ({ name, dataType: dtype ?? 'float32', shape: shape?.map((size) => (size === null || size < 0 ? undefined : size)) });

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

export async function openTfjsModel(folder: string): Promise<ForeignModel> {
  const { tf } = loadTensorFlow();
  const path = join(folder, TFJS_FILE);
  try {
    const json = JSON.parse(await readFile(path, 'utf8')) as TfjsJson;
    const isGraph = json.format === 'graph-model' || (json.format === undefined && json.modelTopology?.node !== undefined);
    if (!isGraph) {
      const model = await tf.loadLayersModel(`file://${path}`);
      return {
        inputs: model.inputs.map((each) => signatureOf(ofLayer(each))), outputs: model.outputs.map((each) => signatureOf(ofLayer(each))),
        parameters: parametersOfLayers(model),
        run: (_, images, output) => runTensorFlow(images, (tensor) => named(model.outputs, model.predictOnBatch(tensor)), output),
        dispose: () => void model.dispose(),
      };
    }
    const model = await tf.loadGraphModel(`file://${path}`);
    const learned = (json.weightsManifest ?? []).flatMap(({ weights = [] }) => weights).filter(({ dtype }) => dtype === 'float32' || dtype === 'float16');
    return {
      inputs: model.inputs.map(signatureOf), outputs: model.outputs.map(signatureOf),
      // A graph does not tell trained weights from statistics.
      parameters: learned.reduce((sum, { shape = [] }) => sum + sizeOf(shape), 0) || undefined,
      run: (input, images, output) => runTensorFlow(images, (tensor) => ({ [output]: model.execute({ [input]: tensor }, output) as Tensor }), output),
      dispose: () => void model.dispose(),
    };
  } catch (thrown) {
    throw unreadable('TF.js cannot load the model', thrown);
  }
}

/** Of a model of ours as our own, which its layers in TF.js exceed by some kernels of ones. */
function parametersOfLayers(model: LayersModel): number | undefined {
  const architecture = savedArchitecture(model);
  return architecture !== undefined ? parameterCount(architecture) : model.trainableWeights.reduce((sum, { shape }) => sum + sizeOf(shape as number[]), 0) || undefined;
}

interface OfLayer extends Described { readonly sourceLayer: { readonly name: string } }

/** By its layer's name: that of the tensor counts on through a process. */
const ofLayer = ({ sourceLayer: { name }, shape, dtype }: OfLayer): Described => ({ name, shape, dtype });

const named = (outputs: readonly OfLayer[], values: Tensor | Tensor[]): Record<string, Tensor> =>
  Object.fromEntries([values].flat().map((value, at) => [outputs[at]?.sourceLayer.name ?? '', value]));
