/** Whether the server knows `If-None-Match: *`, under which a name is created once. Asked once, by the first name that is written. */
import { OWN, type Bucket } from './bucket.ts';
import { S3Failure, isTaken } from './failure.ts';
import { putSingle } from './upload.ts';

/** An object that stays: writing it "only if it is not there" must fail, and shows that the server knows that condition. */
const PROBE = `${OWN}conditional-put`;

export class Conditions {
  readonly #bucket: Bucket;
  #known: Promise<boolean> | undefined;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  known(): Promise<boolean> {
    this.#known ??= this.#probe().catch((thrown: unknown) => {
      // Asked again by the next one.
      this.#known = undefined;
      throw thrown;
    });
    return this.#known;
  }

  async #probe(): Promise<boolean> {
    // The first time in a bucket it creates the object; then, and ever after, it must be refused.
    for (let tries = 0; tries < 2; tries += 1) {
      try {
        await this.#bucket.retries.run(() => putSingle(this.#bucket, PROBE, Buffer.from('Alumnus asks here whether the store knows conditional puts.\n'), {}, true));
      } catch (thrown) {
        if (isTaken(thrown)) return true;
        if (thrown instanceof S3Failure && (thrown.status === 501 || thrown.code === 'NotImplemented')) return false;
        throw thrown;
      }
    }
    return false;
  }
}
