/**
 * A page that runs a TF.js graph model in the browser: choose or drop an image, or take one of the samples; probabilities and the time of a prediction are shown.
 * It stands beside the model's files with TF.js in it (core, converter, wasm, WebGL), asks no other server for anything, and sends images nowhere.
 * Not for: webcams, several images at once.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { PortableFile, PortableModel } from './types.ts';

/** An image file that browsers show. */
export interface SampleImage { readonly extension: string; readonly bytes: Uint8Array }

/** Of TF.js's packages, below their folders: the scripts in the order in which they are loaded, then what wasm needs (with and without SIMD and threads). */
const libraries = ['@tensorflow/tfjs-core/dist/tf-core.min.js', '@tensorflow/tfjs-converter/dist/tf-converter.min.js', '@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js', '@tensorflow/tfjs-backend-webgl/dist/tf-backend-webgl.min.js'] as const;
const binaries = ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm-threaded-simd.wasm'] as const;

const folderOf = (name: string): string => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

export async function pageFiles(model: PortableModel, samples: readonly SampleImage[]): Promise<PortableFile[]> {
  const scripts = await Promise.all(libraries.map(async (path) => {
    const [scope, name, ...rest] = path.split('/') as [string, string, ...string[]];
    return { name: `tfjs/${rest.at(-1)!}`, content: await readFile(join(folderOf(`${scope}/${name}`), ...rest)) };
  }));
  const wasm = await Promise.all(binaries.map(async name => ({ name: `tfjs/${name}`, content: await readFile(join(folderOf('@tensorflow/tfjs-backend-wasm'), 'dist', name)) })));
  const images = samples.map(({ extension, bytes }, at) => ({ name: `samples/${at + 1}.${extension}`, content: bytes }));
  return [...scripts, ...wasm, ...images, { name: 'page.js', content: script }, { name: 'page.css', content: style }, { name: 'index.html', content: markup(model, scripts.map(({ name }) => name), images.map(({ name }) => name)) }];
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);

function markup({ architecture, classNames }: PortableModel, scripts: readonly string[], samples: readonly string[]): string {
  const { height, width, channels } = architecture.input;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(architecture.model.name)}</title>
<link rel="stylesheet" href="page.css">
<link rel="icon" href="data:,">
</head>
<body data-height="${height}" data-width="${width}" data-channels="${channels}">
<main>
<h1>${escaped(architecture.model.name)}</h1>
<p>Tells ${classNames.length} classes of images of ${width} × ${height} pixels${channels === 1 ? ', gray' : ''}. Images stay in this browser.</p>
<div class="controls">
<label class="button">Choose an image<input id="file" type="file" accept="image/*"></label>
<label>Runs on <select id="backend"><option value="wasm">WebAssembly</option><option value="webgl">WebGL</option></select></label>
</div>
<div id="drop">
<canvas id="image" width="${width}" height="${height}" aria-label="The image as the model sees it"></canvas>
<section>
<ol id="classes"></ol>
<p id="status" role="status" aria-live="polite">Loading the model …</p>
</section>
</div>
${samples.length === 0 ? '' : `<h2>Samples</h2>
<div id="samples">${samples.map((name, at) => `<button type="button" aria-label="Sample ${at + 1}"><img src="${escaped(name)}" alt=""></button>`).join('')}</div>
`}</main>
${scripts.map(name => `<script src="${escaped(name)}"></script>`).join('\n')}
<script src="page.js"></script>
</body>
</html>
`;
}

const style = `:root { color-scheme: light dark; --accent: #2a6fb0; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.1rem; }
.controls { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; margin: 1rem 0; }
.button { background: var(--accent); color: #fff; border-radius: 6px; padding: 0.4rem 0.9rem; cursor: pointer; }
.button:focus-within { outline: 3px solid color-mix(in srgb, var(--accent) 50%, transparent); outline-offset: 2px; }
#file { position: absolute; width: 1px; height: 1px; opacity: 0; }
#drop { display: flex; flex-wrap: wrap; gap: 1.5rem; border: 2px dashed #8888; border-radius: 10px; padding: 1rem; }
#drop.over { border-color: var(--accent); }
canvas { width: 12rem; height: 12rem; object-fit: contain; image-rendering: pixelated; background: #8882; border-radius: 6px; }
section { flex: 1 1 16rem; }
#classes { list-style: none; margin: 0; padding: 0; }
#classes li { display: grid; grid-template-columns: minmax(4rem, auto) 1fr 4.5rem; gap: 0.6rem; align-items: center; }
#classes .bar { background: #8882; border-radius: 4px; height: 0.8rem; overflow: hidden; }
#classes .bar span { display: block; height: 100%; background: var(--accent); }
#classes .share { text-align: right; font-variant-numeric: tabular-nums; }
#status { color: color-mix(in srgb, currentColor 70%, transparent); }
#samples { display: flex; flex-wrap: wrap; gap: 0.5rem; }
#samples button { padding: 2px; border: 1px solid #8888; border-radius: 6px; background: none; cursor: pointer; }
#samples img { display: block; width: 56px; height: 56px; object-fit: contain; image-rendering: pixelated; }
`;

const script = `'use strict';
/* The page's program: one model, one image at a time. The last result stands in the data of #classes. */
const byId = (id) => document.getElementById(id);
const size = { height: Number(document.body.dataset.height), width: Number(document.body.dataset.width), channels: Number(document.body.dataset.channels) };
const shownClasses = 5;
const say = (text) => { byId('status').textContent = text; };

tf.wasm.setWasmPaths('tfjs/');
let model;
let last;
let queue = Promise.resolve();
/** One after another, whatever is pressed meanwhile; a failure is told and does not end the next. */
const inTurn = (work) => { queue = queue.then(work).catch((error) => { delete byId('classes').dataset.result; byId('classes').replaceChildren(); say(error instanceof Error ? error.message : String(error)); }); return queue; };

async function open(backend) {
  say('Loading the model …');
  if (model) model.dispose();
  model = undefined;
  if (!await tf.setBackend(backend)) throw new Error('This browser has no ' + backend + '.');
  await tf.ready();
  // Of a relative path TF.js would look for the weights at the server's root.
  model = await tf.loadGraphModel(new URL('model.json', document.baseURI).href);
  // The first prediction compiles and allocates: not what a prediction takes.
  await predict(new Int32Array(size.height * size.width * size.channels));
  say('Ready: ' + backend + '. Choose an image, or drop one here.');
  if (last) await show(last);
}

/** Pixels [height, width, channels] of an image, drawn to the model's size. Gray is the luma of ITU-R BT.601. */
function pixelsOf(image) {
  const canvas = byId('image');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.fillStyle = '#000';
  context.fillRect(0, 0, size.width, size.height);
  context.drawImage(image, 0, 0, size.width, size.height);
  const { data } = context.getImageData(0, 0, size.width, size.height);
  const pixels = new Int32Array(size.height * size.width * size.channels);
  for (let at = 0; at < size.height * size.width; at += 1) {
    const [red, green, blue] = data.subarray(4 * at, 4 * at + 3);
    if (size.channels === 1) pixels[at] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    else pixels.set([red, green, blue], 3 * at);
  }
  return pixels;
}

async function predict(pixels) {
  const images = tf.tensor4d(pixels, [1, size.height, size.width, size.channels], 'int32');
  const start = performance.now();
  const output = model.execute({ images }, 'probabilities');
  const probabilities = await output.data();
  const ms = performance.now() - start;
  tf.dispose([images, output]);
  return { probabilities, ms };
}

async function show(image) {
  if (!model) throw new Error('The model is not loaded.');
  const { probabilities, ms } = await predict(pixelsOf(image));
  const names = model.metadata.classNames;
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, shownClasses);
  byId('classes').replaceChildren(...order.map((place) => {
    const [item, name, bar, fill, share] = ['li', 'span', 'span', 'span', 'span'].map((tag) => document.createElement(tag));
    name.textContent = names[place];
    bar.className = 'bar';
    fill.style.width = 100 * probabilities[place] + '%';
    bar.append(fill);
    share.className = 'share';
    share.textContent = (100 * probabilities[place]).toFixed(1) + ' %';
    item.append(name, bar, share);
    return item;
  }));
  last = image;
  byId('classes').dataset.result = JSON.stringify({ backend: tf.getBackend(), probabilities: [...probabilities], ms });
  say(ms.toFixed(1) + ' ms on ' + tf.getBackend());
}

const take = (file) => inTurn(async () => {
  delete byId('classes').dataset.result;
  const image = await createImageBitmap(file).catch(() => { throw new Error('This file is no image that the browser reads.'); });
  await show(image);
});

byId('file').addEventListener('change', ({ target }) => { if (target.files[0]) take(target.files[0]); target.value = ''; });
byId('backend').addEventListener('change', ({ target }) => inTurn(() => { delete byId('classes').dataset.result; return open(target.value); }));
const drop = byId('drop');
for (const kind of ['dragover', 'dragleave', 'drop']) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle('over', kind === 'dragover');
    if (kind === 'drop' && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
for (const button of document.querySelectorAll('#samples button')) button.addEventListener('click', async () => take(await (await fetch(button.firstChild.src)).blob()));
/** Milliseconds of \`count\` predictions of the image that is shown, for measurements. */
window.measureMs = (count) => new Promise((resolve) => { inTurn(async () => { const each = []; for (let at = 0; at < count; at += 1) each.push((await predict(pixelsOf(last))).ms); resolve(each); }); });
inTurn(() => open(byId('backend').value));
`;
