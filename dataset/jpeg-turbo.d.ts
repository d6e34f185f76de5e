/** The part of the decoder that jpeg.ts uses; the package comes without types. */
declare module '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs' {
  export interface Decoder {
    /** A window on the decoder's memory for an encoded image of that many bytes, until the next call. */
    getEncodedBuffer(bytes: number): Uint8Array;
    /** Throws where libjpeg does, and the decoder is then of no more use; the thrown value says nothing. */
    decode(): void;
    /** A window on the decoder's memory, until the next call. */
    getDecodedBuffer(): Uint8ClampedArray;
    getFrameInfo(): { readonly width: number; readonly height: number; readonly componentCount: number };
    delete(): void;
  }
  export default function load(): Promise<{ readonly JPEGDecoder: new () => Decoder }>;
}
