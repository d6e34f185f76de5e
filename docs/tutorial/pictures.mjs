/**
 * Draws the pictures of docs/tutorial.md: apples and pears, some in class folders, more in one folder without labels.
 * Hues overlap; size, place, tilt, background and what lies in front are drawn alike for both, so that mostly the shape tells them apart.
 * Not for: real photos, which go where these go. The same count gives the same pictures.
 *
 *   node docs/tutorial/pictures.mjs FOLDER [labeled of each class] [unlabeled]
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import sharp from 'sharp';

const [folder, labeled = '250', unlabeled = '2000'] = process.argv.slice(2);
if (folder === undefined || ![labeled, unlabeled].every((count) => /^\d{1,6}$/.test(count))) {
  process.stderr.write('usage: node docs/tutorial/pictures.mjs FOLDER [labeled of each class] [unlabeled]\n');
  process.exit(2);
}

/** Mulberry32: uniform in [0, 1), the same of one seed everywhere. */
function drawsOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

const fruits = {
  apples: { path: 'M50 30 C60 20 90 22 90 52 C90 80 66 94 50 86 C34 94 10 80 10 52 C10 22 40 20 50 30 Z', hue: [-30, 80] },
  pears: { path: 'M50 6 C62 6 62 26 65 38 C70 50 84 58 84 74 C84 92 66 96 50 96 C34 96 16 92 16 74 C16 58 30 50 35 38 C38 26 38 6 50 6 Z', hue: [20, 130] },
};

function picture(kind, draw) {
  const { path, hue } = fruits[kind];
  const between = (least, most) => least + draw() * (most - least);
  const color = (hueLeast, hueMost, lightness) => `hsl(${between(hueLeast, hueMost)},${between(30, 75)}%,${lightness + between(-12, 12)}%)`;
  const [width, height] = [Math.round(between(96, 160)), Math.round(between(96, 160))];
  const size = Math.min(width, height) * between(0.6, 0.9);
  const [x, y] = [between(0.42, 0.58) * width, between(0.42, 0.58) * height];
  const blots = (count, reach) => Array.from({ length: count }, () =>
    `<ellipse cx="${between(0, width)}" cy="${between(0, height)}" rx="${between(0.4, 1) * reach}" ry="${between(0.4, 1) * reach}" fill="${color(0, 360, 60)}" opacity="${between(0.4, 0.9)}"/>`).join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="${color(0, 360, 75)}"/>${blots(5, 30)}`
    + `<g transform="translate(${x} ${y}) rotate(${between(-40, 40)}) scale(${size / 100} ${(size / 100) * between(0.85, 1.1)}) translate(-50 -52)"><path d="${path}" fill="${color(...hue, 45)}"/><path d="M50 ${kind === 'apples' ? 30 : 8} q4 -10 10 -14" stroke="#543" stroke-width="5" fill="none"/></g>${blots(3, 20)}</svg>`;
}

let seed = 0;
async function write(path, kind) {
  const draw = drawsOf(++seed);
  await writeFile(path, await sharp(Buffer.from(picture(kind, draw))).blur(0.4 + draw()).jpeg({ quality: 88 }).toBuffer());
}

for (const kind of Object.keys(fruits)) {
  await mkdir(join(folder, 'photos', kind), { recursive: true });
  for (let number = 1; number <= Number(labeled); number += 1) await write(join(folder, 'photos', kind, `${number}.jpg`), kind);
}
await mkdir(join(folder, 'more-photos'), { recursive: true });
for (let number = 1; number <= Number(unlabeled); number += 1) await write(join(folder, 'more-photos', `${number}.jpg`), drawsOf(-number)() < 0.5 ? 'apples' : 'pears');
process.stdout.write(`${folder}/photos: ${labeled} apples and ${labeled} pears; ${folder}/more-photos: ${unlabeled} of both, mixed\n`);
