// Length-delimited framing over partial reads. Knows bytes, not what is in them.

import { MAX_FRAME_BYTES } from "./limits";

/** The bytes of a stream are not frames; nothing after this can be read. */
export class FramingError extends Error {
  override readonly name = "FramingError";
}

/**
 * Precedes a frame with its length as a varint.
 *
 * @param frame an encoded frame, not empty
 */
export function delimit(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  const prefix = varint(frame.length);
  const out = new Uint8Array(prefix.length + frame.length);
  out.set(prefix);
  out.set(frame, prefix.length);
  return out;
}

/** Collects the chunks of a byte stream and splits whole frames off its front. */
export class FrameSplitter {
  #buffer: Uint8Array = new Uint8Array(0);
  readonly #maxBytes: number;

  /** @param maxBytes the largest frame accepted; a larger one is refused as soon as its length is there */
  constructor(maxBytes: number = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Whether bytes of an unfinished frame are waiting. */
  get hasRest(): boolean {
    return this.#buffer.length > 0;
  }

  /** Takes the next chunk of the stream. The chunk is not copied while frames fit into it. */
  push(chunk: Uint8Array): void {
    if (this.#buffer.length === 0) {
      this.#buffer = chunk;
      return;
    }
    const joined = new Uint8Array(this.#buffer.length + chunk.length);
    joined.set(this.#buffer);
    joined.set(chunk, this.#buffer.length);
    this.#buffer = joined;
  }

  /**
   * The next whole frame without its length, or undefined when more bytes are needed.
   *
   * @throws {@link FramingError} on a length that is empty, too large or not a canonical varint
   */
  next(): Uint8Array | undefined {
    const length = peekLength(this.#buffer);
    if (!length) return undefined;
    if (length.value === 0) throw new FramingError("a frame of length 0");
    if (length.value > this.#maxBytes) {
      throw new FramingError(`a frame of ${length.value} bytes, over the limit of ${this.#maxBytes}`);
    }
    const end = length.bytes + length.value;
    if (this.#buffer.length < end) return undefined;
    const frame = this.#buffer.subarray(length.bytes, end);
    this.#buffer = this.#buffer.subarray(end);
    return frame;
  }
}

function varint(value: number): number[] {
  const bytes = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

function peekLength(buffer: Uint8Array): { value: number; bytes: number } | undefined {
  let value = 0;
  for (let index = 0; index < MAX_LENGTH_BYTES; index++) {
    const byte = buffer[index];
    if (byte === undefined) return undefined;
    // Not `<<`: a shift by 28 would turn a large length negative.
    value += (byte & 0x7f) * 2 ** (7 * index);
    if ((byte & 0x80) === 0) {
      if (byte === 0 && index > 0) throw new FramingError("a length that is not a canonical varint");
      return { value, bytes: index + 1 };
    }
  }
  throw new FramingError("a length that is not a canonical varint");
}

/** Five groups of seven bits hold a u32. */
const MAX_LENGTH_BYTES = 5;
