/**
 * What an export consists of, as files by name: the model in its format, the document that the run keeps of it, and a README that says whose model it is and how to call it.
 * Not for: writing them to disk.
 */
import { createHash } from 'node:crypto';
import { AlumnusError } from '../../proto/errors.ts';
import type { WeightScheme } from '../../recipe/index.ts';
import type { TensorData } from '../learning/index.ts';
import { portableGraph } from './graph.ts';
import { onnxModel } from './onnx.ts';
import { pageFiles, type SampleImage } from './page.ts';
import { savedModel } from './savedmodel.ts';
import { tfjsGraph } from './tfjs.ts';
import type { PortableFile, PortableModel } from './types.ts';

export const portableFormats = ['savedmodel', 'onnx', 'tfjs-graph'] as const;
export type PortableFormat = (typeof portableFormats)[number];

export interface ExportOptions {
  readonly format: PortableFormat;
  readonly scheme: WeightScheme;
  /** A page that runs the model, with these images to try it on; of the format tfjs-graph alone. */
  readonly page?: { readonly samples: readonly SampleImage[] };
}

/**
 * The same model, whole, gives the same files.
 * @param stored the model document, as the run keeps it
 * @throws AlumnusError EXPORT_IMPOSSIBLE; DIGEST_MISMATCH where the weights are another model's
 */
export async function portableFiles(stored: Uint8Array, weights: readonly TensorData[], { format, scheme, page }: ExportOptions): Promise<PortableFile[]> {
  const model = JSON.parse(Buffer.from(stored).toString('utf8')) as PortableModel;
  const documentSha256 = createHash('sha256').update(stored).digest('hex');
  if (page !== undefined && format !== 'tfjs-graph') throw new AlumnusError('USAGE', 'a page runs the model with TF.js: --page goes with --format tfjs-graph');
  const own = modelFiles(model, weights, format, scheme, documentSha256);
  return [
    ...own, ...page === undefined ? [] : await pageFiles(model, page.samples),
    { name: 'document.json', content: stored }, { name: 'README.md', content: readme(model, format, scheme, documentSha256, page !== undefined) },
  ];
}

/** Those of the format itself. */
function modelFiles({ architecture, classNames, weights: { sha256 }, lineage }: PortableModel, weights: readonly TensorData[], format: PortableFormat, scheme: WeightScheme, documentSha256: string): PortableFile[] {
  const { height, width, channels } = architecture.input;
  const shape = [height, width, channels];
  const about = { document: documentSha256, weights: sha256, weightScheme: scheme, architecture, lineage };
  const graph = portableGraph(architecture, weights, scheme);
  switch (format) {
    case 'savedmodel': return [{ name: 'saved_model.pb', content: savedModel(graph, shape, classNames) }];
    case 'onnx': return [{ name: 'model.onnx', content: onnxModel(graph, shape, classNames, Object.fromEntries(Object.entries(about).map(([key, value]) => [`alumnus.${key}`, typeof value === 'string' ? value : JSON.stringify(value)]))) }];
    case 'tfjs-graph': return tfjsGraph(graph, shape, classNames, { alumnus: about });
  }
}

/** How many bytes the format's own files have. Throws as `portableFiles`. */
export const modelBytes = (model: PortableModel, weights: readonly TensorData[], format: PortableFormat, scheme: WeightScheme): number =>
  modelFiles(model, weights, format, scheme, '0'.repeat(64)).reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);

const calls: Readonly<Record<PortableFormat, (shape: string) => string>> = {
  savedmodel: shape => `\`\`\`python
import tensorflow as tf
model = tf.saved_model.load('.')
classes = [name.decode() for name in model.signatures['class_names']()['class_names'].numpy()]
outputs = model.signatures['serving_default'](images=images)  # uint8 ${shape}
print(outputs['probabilities'], outputs['log_probabilities'])
\`\`\`
`,
  onnx: shape => `\`\`\`python
import json, onnxruntime
session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])
classes = json.loads(session.get_modelmeta().custom_metadata_map['class_names'])
probabilities, log_probabilities = session.run(['probabilities', 'log_probabilities'], {'images': images})  # uint8 ${shape}
\`\`\`
`,
  'tfjs-graph': shape => `\`\`\`js
// A browser: @tensorflow/tfjs-core, -converter and a backend. Node: @tensorflow/tfjs-node, and 'file://…/model.json'.
const model = await tf.loadGraphModel(new URL('model.json', document.baseURI).href);
const classes = model.metadata.classNames;
const images = tf.tensor4d(bytes, shape, 'int32');  // ${shape}, 0 to 255
const [probabilities, logProbabilities] = model.execute({ images }, ['probabilities', 'log_probabilities']);
\`\`\`
`,
};

const stand: Readonly<Record<WeightScheme, string>> = {
  float32: 'float32, as trained',
  float16: 'kernels in float16, everything else float32; computed with as float32',
  int8: 'kernels in int8 with a scale for each channel of the output (symmetric, -127 to 127), everything else float32; computed with as float32',
};

function readme({ architecture, classNames, weights, lineage }: PortableModel, format: PortableFormat, scheme: WeightScheme, documentSha256: string, page: boolean): string {
  const { height, width, channels } = architecture.input;
  const options = Object.entries(architecture.model.options).map(([name, value]) => ` ${name}=${value}`).join('');
  return `# ${architecture.model.name}${options}

An image classifier of ${classNames.length} classes.

- **In**: \`images\`, bytes \`[batch, ${height}, ${width}, ${channels}]\` from 0 to 255, ${channels === 1 ? 'gray' : 'RGB'}, any batch. Scaling is done inside; images of another size are brought to this one before.
- **Out**: \`probabilities\` and \`log_probabilities\`, float32 \`[batch, ${classNames.length}]\`, in the order of the class names.
- **Weights**: ${stand[scheme]}.
- **Where it comes from**: document \`sha256:${documentSha256}\` (\`document.json\` here), weights \`sha256:${weights.sha256}\`.

${calls[format](`[batch, ${height}, ${width}, ${channels}]`)}
${page ? `## The page

Browsers open it from a web server only: \`python3 -m http.server\` in this folder, then http://localhost:8000. It fetches nothing from elsewhere, and images stay in the browser.

` : ''}## Lineage

\`\`\`json
${JSON.stringify(lineage, null, 2)}
\`\`\`
`;
}
