/**
 * One reader of the stream, over server-sent events. At most one piece of each document is on its way; a reader that takes none is told the newest when it reads on, and is cut
 * off when it doesn't for long.
 */
import type { ServerResponse } from 'node:http';
import type { AlumnusError } from '../../proto/errors.ts';
import { event, type Channel, type Watcher } from './hub.ts';

/** A page that hears nothing for three of these looks for another coordinator. */
export const BEAT_MS = 5_000;
/** A connection whose other end is gone without a word is found by this at the latest. */
const STUCK_MS_MAX = 60_000;

export interface StreamOptions {
  readonly response: ServerResponse;
  /** Asked with each beat: the error that ends the stream, for a caller who may read no more. */
  check(): AlumnusError | undefined;
  errorJson(error: AlumnusError): string;
  onEnd(): void;
}

export class Stream implements Watcher {
  readonly #options: StreamOptions;
  readonly #sent = new Map<Channel, number>();
  readonly #beat: NodeJS.Timeout;
  #fullSinceMs: number | undefined;
  #ended = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { response } = options;
    response.on('drain', () => {
      this.#fullSinceMs = undefined;
      this.flush();
    });
    response.on('close', () => this.#finish());
    this.#beat = setInterval(() => this.#onBeat(), BEAT_MS);
  }

  follow(channel: Channel): void {
    this.#sent.set(channel, 0);
  }

  flush(): void {
    if (this.#ended || this.#fullSinceMs !== undefined) return;
    const text = [...this.#sent].map(([channel, version]) => {
      this.#sent.set(channel, channel.version);
      return channel.textFrom(version);
    }).join('');
    if (text !== '') this.#write(text);
  }

  end(error: AlumnusError): void {
    if (this.#ended) return;
    this.#options.response.end(event('failed', this.#options.errorJson(error)));
    this.#finish();
  }

  #onBeat(): void {
    if (this.#fullSinceMs !== undefined) {
      if (performance.now() - this.#fullSinceMs > STUCK_MS_MAX) this.#options.response.destroy();
      return;
    }
    const error = this.#options.check();
    if (error !== undefined) this.end(error);
    else this.#write(event('beat', `{"nowMs":${Date.now()}}`));
  }

  #write(text: string): void {
    if (!this.#options.response.write(text)) this.#fullSinceMs = performance.now();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#beat);
    this.#options.onEnd();
  }
}
