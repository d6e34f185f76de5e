// Adds to corruptions-expected.json what ImageMagick's own motion blur makes of its images: @imagemagick/magick-wasm, installed beside this file for the purpose.
// node motion-expected.mjs FOLDER-WITH-node_modules
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const { ImageMagick, initializeImageMagick, Magick, MagickFormat, MagickReadSettings } = require('@imagemagick/magick-wasm');
await initializeImageMagick(readFileSync(require.resolve('@imagemagick/magick-wasm/magick.wasm')));
const file = new URL('corruptions-expected.json', import.meta.url);
const document = JSON.parse(readFileSync(file, 'utf8'));
document.magick = Magick.imageMagickVersion;
document.expected.motion_blur = document.images.map((text, at) => {
  const settings = new MagickReadSettings({ format: MagickFormat.Gray, width: 28, height: 28, depth: 8 });
  let out;
  ImageMagick.read(Buffer.from(text, 'base64'), settings, (image) => {
    image.motionBlur(10, 3, document.motionDegrees[at]);
    image.depth = 8;
    image.write(MagickFormat.Gray, (bytes) => { out = Buffer.from(bytes).toString('base64'); });
  });
  return out;
});
writeFileSync(file, `${JSON.stringify(document, undefined, 1)}\n`);
