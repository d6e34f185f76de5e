/** Our PNG coder against two independent ones, and what becomes of damaged or unsuitable images. */
import { PNG } from 'pngjs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { conformImage, decodeImage, encodePng, type ImageShape } from '../../../dataset/index.ts';
import { jpeg, picture } from './fixture.ts';

const shapes: ImageShape[] = [{ height: 28, width: 28, channels: 1 }, { height: 1, width: 1, channels: 1 }, { height: 7, width: 13, channels: 3 }, { height: 1, width: 300, channels: 3 }, { height: 64, width: 1, channels: 1 }, { height: 70, width: 90, channels: 3 }, { height: 65, width: 64, channels: 1 }];
const gray = shapes[0] as ImageShape;
const rgb: ImageShape = { height: 7, width: 13, channels: 3 };

describe('an image in a shard', () => {
  it.each(shapes)('is read by others as it was written: $height x $width x $channels', async (shape) => {
    const pixels = picture(1, shape);
    const bytes = encodePng(pixels, shape);
    expect(Buffer.from(encodePng(pixels, shape)).equals(bytes)).toBe(true);
    const bySharp = await sharp(bytes).toColorspace(shape.channels === 1 ? 'b-w' : 'srgb').raw().toBuffer();
    expect(bySharp.equals(pixels)).toBe(true);
    const { data } = PNG.sync.read(Buffer.from(bytes));
    for (let at = 0; at < shape.height * shape.width; at += 1) expect(data[at * 4]).toBe(pixels[at * shape.channels]);
    expect(Buffer.from(await decodeImage(bytes, shape)).equals(pixels)).toBe(true);
  });

  it.each([0, 1, 2, 3, 4])('is read whatever row filter another program chose: filter %i', async (filterType) => {
    for (const shape of shapes) {
      const pixels = picture(2, shape);
      const image = new PNG({ width: shape.width, height: shape.height });
      for (let at = 0; at < shape.height * shape.width; at += 1) {
        for (let channel = 0; channel < 3; channel += 1) image.data[at * 4 + channel] = pixels[at * shape.channels + (shape.channels === 3 ? channel : 0)] ?? 0;
        image.data[at * 4 + 3] = 255;
      }
      const bytes = PNG.sync.write(image, { filterType, colorType: shape.channels === 1 ? 0 : 2, inputHasAlpha: true });
      expect(Buffer.from(await decodeImage(bytes, shape)).equals(pixels)).toBe(true);
    }
  });

  it('is read when it is interlaced, indexed or has 16 bits', async () => {
    const pixels = Buffer.from(picture(3, rgb).map((value) => (value > 127 ? 255 : 0)));
    const image = () => sharp(pixels, { raw: rgb });
    for (const bytes of [await image().png({ progressive: true }).toBuffer(), await image().png({ palette: true, dither: 0 }).toBuffer(), await image().toColorspace('rgb16').png().toBuffer()]) {
      expect(Buffer.from(await decodeImage(bytes, rgb)).equals(pixels)).toBe(true);
    }
  });

  it('is read from JPEG as libvips reads it, whatever its sampling, size and order of coefficients', async () => {
    const sizes: [number, number][] = [[7, 13], [1, 1], [8, 8], [17, 40], [64, 64], [33, 1], [90, 71]];
    for (const [height, width] of sizes) {
      for (const channels of [1, 3] as const) {
        for (const options of [{}, { chromaSubsampling: '4:4:4' }, { progressive: true }, { mozjpeg: true }]) {
          const shape = { height, width, channels };
          const space = channels === 1 ? 'b-w' : 'srgb';
          const bytes = await sharp(picture(4, shape), { raw: shape }).toColorspace(space).jpeg({ quality: 80, ...options }).toBuffer();
          expect(Buffer.from(await decodeImage(bytes, shape)).equals(await sharp(bytes).toColorspace(space).raw().toBuffer()), JSON.stringify({ shape, options })).toBe(true);
        }
      }
    }
  });

  it('is read from JPEG with its orientation, its profile, and in the set\'s own channels', async () => {
    const wide: ImageShape = { height: 8, width: 16, channels: 3 };
    const image = () => sharp(picture(3, wide), { raw: wide });
    const turned = await image().withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const upright: ImageShape = { height: 16, width: 8, channels: 3 };
    expect(Buffer.from(await decodeImage(turned, upright)).equals(await sharp(turned).rotate().raw().toBuffer())).toBe(true);
    const profiled = await image().withIccProfile('p3').jpeg().toBuffer();
    expect(Buffer.from(await decodeImage(profiled, wide)).equals(await sharp(profiled).toColorspace('srgb').raw().toBuffer())).toBe(true);
    const cmyk = await image().toColorspace('cmyk').jpeg().toBuffer();
    expect(Buffer.from(await decodeImage(cmyk, wide)).equals(await sharp(cmyk).toColorspace('srgb').raw().toBuffer())).toBe(true);
    const color = await image().jpeg().toBuffer();
    const gray: ImageShape = { ...wide, channels: 1 };
    expect(Buffer.from(await decodeImage(color, gray)).equals(await sharp(color).toColorspace('b-w').raw().toBuffer())).toBe(true);
  });

  it('is named when it is cut off, at every length', async () => {
    const bytes = encodePng(picture(5, gray), gray);
    for (let length = 0; length < bytes.length; length += 1) {
      await expect(decodeImage(bytes.subarray(0, length), gray, 'shard-3/k.png'), String(length)).rejects.toMatchObject({ code: 'IMAGE_CORRUPT', where: 'shard-3/k.png' });
    }
    const photo = await jpeg(5, { height: 40, width: 40, channels: 3 });
    for (let length = 0; length < photo.length; length += 37) {
      await expect(decodeImage(photo.subarray(0, length), { height: 40, width: 40, channels: 3 }, 'k.jpg'), String(length)).rejects.toMatchObject({ code: 'IMAGE_CORRUPT', where: 'k.jpg' });
    }
    // What failed before does not show in what comes after.
    expect(await decodeImage(photo, { height: 40, width: 40, channels: 3 })).toHaveLength(4_800);
  });

  it('is named when a byte of it changed', async () => {
    const bytes = encodePng(picture(6, gray), gray);
    for (let at = 8; at < bytes.length; at += 1) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      await expect(decodeImage(damaged, gray, 'k'), String(at)).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
    }
  });

  it('is refused when it has another size, and when it is none', async () => {
    await expect(decodeImage(encodePng(picture(7, gray), gray), { ...gray, width: 27 }, 'k')).rejects.toThrow('is 28 x 28 where the dataset\'s are 27 x 28');
    await expect(decodeImage(Buffer.from('hello'), gray, 'k')).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
  });
});

describe('an image at import', () => {
  it('keeps its own bytes where it has the dataset\'s shape', async () => {
    const bytes = await jpeg(8, rgb);
    const conformed = await conformImage(bytes, 'jpg', rgb, 'x.jpg');
    expect(conformed).toMatchObject({ extension: 'jpg', resized: false });
    expect(conformed.bytes).toBe(bytes);
    expect(Buffer.from(await decodeImage(conformed.bytes, rgb)).equals(conformed.pixels)).toBe(true);
  });

  it('is resized, loses its alpha and its color, and is stored without loss', async () => {
    const large = await sharp(picture(9, { height: 30, width: 50, channels: 3 }), { raw: { height: 30, width: 50, channels: 3 } }).ensureAlpha(0.5).png().toBuffer();
    for (const shape of [gray, rgb]) {
      const conformed = await conformImage(large, 'png', shape, 'x.png');
      expect(conformed).toMatchObject({ extension: 'png', resized: true });
      expect(conformed.pixels).toHaveLength(shape.height * shape.width * shape.channels);
      expect(Buffer.from(await decodeImage(conformed.bytes, shape)).equals(conformed.pixels)).toBe(true);
    }
  });

  it('stays what it is when gray becomes RGB', async () => {
    const conformed = await conformImage(encodePng(picture(10, gray), gray), 'png', { ...gray, channels: 3 }, 'x.png');
    expect(Array.from(conformed.pixels)).toEqual(Array.from(picture(10, gray)).flatMap((value) => [value, value, value]));
  });
});
