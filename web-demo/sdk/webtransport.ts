// WebTransport as a transport: a control stream opened here, lanes and answers on streams of the server's, datagrams.

import { fromBinary } from "@bufbuild/protobuf";
import { decodeBase64 } from "./base64";
import { delimit, FrameSplitter } from "./framing";
import { CloseCode, StreamHeaderSchema } from "./gen/tidegate/v1/client_pb";
import { LANES, MAX_DATAGRAM_BYTES } from "./limits";
import type { Endpoints, Transport, Wire, WireEvents } from "./transport";

/** The WebTransport transport, for browsers that have it. */
export function webTransportTransport(): Transport {
  return {
    name: "webtransport",
    isUsable: (endpoints) => typeof WebTransport === "function" && Boolean(endpoints.webtransport),
    open,
  };
}

async function open(endpoints: Endpoints, abort: AbortSignal): Promise<Wire> {
  const options: WebTransportOptions = { congestionControl: "low-latency" };
  if (endpoints.certSha256) {
    options.serverCertificateHashes = [{ algorithm: "sha-256", value: decodeBase64(endpoints.certSha256) }];
  }
  const session = new WebTransport(endpoints.webtransport ?? "", options);
  const close = (): void => session.close({ closeCode: CloseCode.NORMAL, reason: "" });
  // `ready` tells the failure; without a handler here the browser would report it a second time.
  session.closed.catch(() => {});
  abort.addEventListener("abort", close, { once: true });
  try {
    await session.ready;
    const control = await session.createBidirectionalStream();
    return new WebTransportWire(session, control);
  } catch (error) {
    close();
    throw error;
  } finally {
    abort.removeEventListener("abort", close);
  }
}

class WebTransportWire implements Wire {
  readonly transport = "webtransport";
  readonly lanes = LANES;
  readonly datagrams: boolean;
  readonly #session: WebTransport;
  readonly #control: WebTransportBidirectionalStream;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #datagramWriter: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #events: WireEvents | undefined;

  constructor(session: WebTransport, control: WebTransportBidirectionalStream) {
    this.#session = session;
    this.#control = control;
    this.#writer = control.writable.getWriter();
    this.#datagramWriter = datagramWriter(session);
    this.datagrams = this.#datagramWriter !== undefined;
  }

  start(events: WireEvents): void {
    this.#events = events;
    this.#session.closed.then(
      (info) => this.#ended(info.closeCode || undefined, info.reason || "the connection was lost"),
      () => this.#ended(undefined, "the connection was lost"),
    );
    this.#readFrames(this.#control.readable).then(
      () => this.#failed("the server ended the control stream"),
      (error: unknown) => this.#failed(error),
    );
    this.#writer.closed.catch((error: unknown) => this.#failed(error));
  }

  readLanes(): void {
    this.#readStreams().catch((error: unknown) => this.#failed(error));
    if (this.datagrams) this.#readDatagrams().catch(() => {});
  }

  send(frame: Uint8Array): void {
    this.#writer.write(delimit(frame)).catch((error: unknown) => this.#failed(error));
  }

  trySendDatagram(frame: Uint8Array): boolean {
    const limit = Math.min(MAX_DATAGRAM_BYTES, this.#session.datagrams.maxDatagramSize);
    if (!this.#datagramWriter || frame.length > limit) return false;
    this.#datagramWriter.write(frame).catch(() => {});
    return true;
  }

  close(code: number, reason: string): void {
    this.#events = undefined;
    this.#session.closed.catch(() => {});
    this.#session.close({ closeCode: code, reason });
  }

  async #readStreams(): Promise<void> {
    const streams = this.#session.incomingUnidirectionalStreams.getReader();
    for (;;) {
      const { done, value } = await streams.read();
      if (done) return;
      this.#readServerStream(value as ReadableStream<Uint8Array>).catch((error: unknown) => this.#failed(error));
    }
  }

  /** A lane or an answer: both are frames after a header, so that the header's kind needs no looking at. */
  async #readServerStream(stream: ReadableStream<Uint8Array>): Promise<void> {
    await this.#readFrames(stream, (header) => void fromBinary(StreamHeaderSchema, header));
  }

  async #readFrames(stream: ReadableStream<Uint8Array>, onHeader?: (header: Uint8Array) => void): Promise<void> {
    const reader = stream.getReader();
    const splitter = new FrameSplitter();
    let header = onHeader;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#events?.alive();
      splitter.push(value);
      for (let frame = splitter.next(); frame; frame = splitter.next()) {
        if (header) {
          header(frame);
          header = undefined;
        } else {
          this.#events?.frame(frame);
        }
      }
    }
  }

  async #readDatagrams(): Promise<void> {
    const reader = (this.#session.datagrams.readable as ReadableStream<Uint8Array>).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#events?.alive();
      this.#events?.frame(value);
    }
  }

  /** A broken stream is a broken session; but when the session is ending, how it ended is the better news. */
  #failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    setTimeout(() => {
      if (!this.#events) return;
      const events = this.#events;
      this.close(CloseCode.PROTOCOL_ERROR, "");
      events.closed(undefined, reason);
    });
  }

  #ended(code: number | undefined, reason: string): void {
    const events = this.#events;
    this.#events = undefined;
    events?.closed(code, reason);
  }
}

/** Newer browsers make the writable on request, older ones have it ready. */
function datagramWriter(session: WebTransport): WritableStreamDefaultWriter<Uint8Array> | undefined {
  const datagrams = session.datagrams as WebTransportDatagramDuplexStream & {
    createWritable?: () => WritableStream<Uint8Array>;
  };
  const writable = datagrams.writable ?? datagrams.createWritable?.();
  return writable?.getWriter();
}
