/** Tone: brightness, and stripes of the negative. */
import { plane, scaled, SIDE, unscaled, type Plane } from './plane.ts';

/** Severity 5, of 0..1. */
const BRIGHTER = 0.5;
/** Columns at each side. */
const STRIPE = 7;

/** The published code adds it to the value of HSV; of gray that is the gray itself. */
export const brightness = (pixels: Uint8Array): Plane => unscaled(scaled(pixels).map((value) => value + BRIGHTER));

export const stripe = (pixels: Uint8Array): Plane =>
  plane((at) => (at % SIDE < STRIPE || at % SIDE >= SIDE - STRIPE ? 255 - (pixels[at] ?? 0) : pixels[at] ?? 0));
