// WebSocket as a transport: binary messages with one or several delimited frames each, subprotocol tidegate.v1.

import { delimit, FrameSplitter, FramingError } from "./framing";
import { CloseCode } from "./gen/tidegate/v1/client_pb";
import type { Endpoints, Transport, Wire, WireEvents } from "./transport";

/** The WebSocket transport. */
export function webSocketTransport(): Transport {
  return {
    name: "websocket",
    isUsable: (endpoints) => typeof WebSocket === "function" && endpoints.websocket !== "",
    open,
  };
}

function open(endpoints: Endpoints, abort: AbortSignal): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(endpoints.websocket, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      // A socket is closed only once it is open: closing it earlier makes browsers write an error to the console.
      if (abort.aborted) return socket.close(CloseCode.NORMAL);
      if (socket.protocol !== SUBPROTOCOL) {
        socket.close(CloseCode.PROTOCOL_ERROR);
        return reject(new Error("the server does not speak tidegate.v1"));
      }
      resolve(new WebSocketWire(socket));
    };
    socket.onclose = (event) => reject(new Error(`could not connect (${event.code})`));
  });
}

class WebSocketWire implements Wire {
  readonly transport = "websocket";
  readonly lanes = 0;
  readonly datagrams = false;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  start(events: WireEvents): void {
    this.#socket.onmessage = (event) => this.#read(event.data as unknown, events);
    this.#socket.onclose = (event) => {
      this.#silence();
      events.closed(event.code >= 4000 ? event.code : undefined, event.reason || "the connection was lost");
    };
    // It may have closed between opening and now.
    if (this.#socket.readyState >= WebSocket.CLOSING) queueMicrotask(() => events.closed(undefined, "the connection was lost"));
  }

  readLanes(): void {
    // There are none: everything comes over the one connection.
  }

  send(frame: Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(delimit(frame));
  }

  trySendDatagram(): boolean {
    return false;
  }

  close(code: number, reason: string): void {
    this.#silence();
    this.#socket.close(code, reason.slice(0, MAX_REASON_CHARS));
  }

  #read(data: unknown, events: WireEvents): void {
    events.alive();
    try {
      if (!(data instanceof ArrayBuffer)) throw new FramingError("a text message");
      const splitter = new FrameSplitter();
      splitter.push(new Uint8Array(data));
      for (let frame = splitter.next(); frame; frame = splitter.next()) events.frame(frame);
      if (splitter.hasRest) throw new FramingError("a message that ends inside a frame");
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.close(CloseCode.PROTOCOL_ERROR, error.message);
      events.closed(undefined, error.message);
    }
  }

  #silence(): void {
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
  }
}

const SUBPROTOCOL = "tidegate.v1";
/** A close reason is at most 123 bytes; ours are mostly ASCII. */
const MAX_REASON_CHARS = 40;
