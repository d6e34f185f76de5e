/**
 * Pseudo-random numbers outside the graph: initial weights, and the seeds that go into it.
 * Every number is a pure function of a seed and a purpose, the same on every machine.
 * Not for: noise within a step, which TensorFlow draws from the seeds made here.
 */

const mix = (value: number): number => {
  // The finalizer of MurmurHash3, 32 bits.
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
};

/** A signed 32-bit hash of a seed (any safe integer) and a purpose. */
export function seedFor(seed: number, purpose: string): number {
  const low = seed % 2 ** 32;
  let h = mix(mix(low) ^ Math.floor(seed / 2 ** 32));
  for (let index = 0; index < purpose.length; index++) h = mix(Math.imul(h, 31) + purpose.charCodeAt(index));
  return h;
}

/** Uniform numbers in [0, 1) with 32 bits each: sfc32 (Chris Doty-Humphrey, PractRand), the state mixed from `seed`. */
export function uniformSource(seed: number): () => number {
  let a = mix(seed), b = mix(seed + 0x9e3779b9), c = mix(seed + 0x3c6ef372), counter = 1;
  const next = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + result | 0;
    return (result >>> 0) / 2 ** 32;
  };
  // The generator's author discards the first numbers, because the state starts poor in ones.
  for (let round = 0; round < 12; round++) next();
  return next;
}

/** Normal numbers with the given deviation, drawn again beyond two deviations (as TensorFlow's `truncated_normal`). */
export function truncatedNormal(size: number, deviation: number, seed: number): Float32Array {
  const uniform = uniformSource(seed);
  const values = new Float32Array(size);
  for (let index = 0; index < size;) {
    // Box-Muller; 1 - u keeps the logarithm finite.
    const normal = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    if (Math.abs(normal) < 2) values[index++] = normal * deviation;
  }
  return values;
}
