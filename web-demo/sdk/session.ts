// One live session on one wire: Hello, heartbeat, answers to requests, and how it ends. Knows nothing of inboxes.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Alarm, within } from "./alarm";
import type { Ending } from "./ending";
import { closeCodeName, codeName, TidegateError } from "./errors";
import {
  ClientFrameSchema,
  CloseCode,
  ServerFrameSchema,
  type ClientFrame,
  type Error as ErrorFrame,
  type GoAway,
  type ServerFrame,
  type Welcome,
} from "./gen/tidegate/v1/client_pb";
import { Heartbeat } from "./heartbeat";
import { ANSWER_TIMEOUT_MS, WELCOME_TIMEOUT_MS } from "./limits";
import type { Wire } from "./transport";

/** What a client says, as the `kind` of its frame. */
export type ClientKind = Exclude<ClientFrame["kind"], { case: undefined }>;
/** What a server says, as the `kind` of its frame. */
export type ServerKind = Exclude<ServerFrame["kind"], { case: undefined }>;

/** What a session tells its owner, in the order in which it happens on the wire. */
export interface SessionEvents {
  /** The session is live; whatever comes with the same bytes comes after this call. */
  welcome(welcome: Welcome): void;
  /** A frame that is neither the answer to a {@link Session.request} nor farewell. `id`: of what was asked, or 0. */
  frame(kind: ServerKind, id: number): void;
  /** A Pong came. */
  rtt(ms: number): void;
  /** An Error frame that answers no {@link Session.request} and closes nothing. `id`: of what was asked, or 0. */
  refused(error: TidegateError, id: number): void;
}

/** Where a session is in its life. */
type Stage = "opening" | "live" | "ended";

/** A session, from the open wire to its end. */
export class Session {
  /** Settles when the session is over; it never rejects. */
  readonly ended: Promise<Ending>;
  readonly #wire: Wire;
  readonly #events: SessionEvents;
  readonly #requests = new Map<number, { resolve(kind: ServerKind): void; reject(error: Error): void }>();
  readonly #pings = new Map<number, number>();
  readonly #pulse: Alarm;
  #heartbeat: Heartbeat;
  #stage: Stage = "opening";
  #lastId = 0;
  #welcomed: ((welcome: Welcome) => void) | undefined;
  #end: (ending: Ending) => void = () => {};

  constructor(wire: Wire, events: SessionEvents, heartbeatMs: number) {
    this.#wire = wire;
    this.#events = events;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#heartbeat = new Heartbeat(heartbeatMs, Date.now());
    this.#pulse = new Alarm(() => this.#beat());
  }

  /** The name of the transport it is on. */
  get transport(): string {
    return this.#wire.transport;
  }

  /** Whether Welcome came and nothing ended it since. */
  get isLive(): boolean {
    return this.#stage === "live";
  }

  /**
   * Says Hello and waits for the Welcome.
   *
   * @returns the Welcome; undefined when the session ended without one, see {@link ended}
   */
  async hello(hello: ClientKind & { case: "hello" }): Promise<Welcome | undefined> {
    const welcome = new Promise<Welcome>((resolve) => (this.#welcomed = resolve));
    this.#wire.start({
      frame: (bytes) => this.#read(bytes),
      alive: () => this.#heartbeat.heard(),
      closed: (code, reason) => this.#finish({ code, reason }),
    });
    this.#write(hello, 0);
    const first = Promise.race([welcome, this.ended.then(() => undefined)]);
    return within(first, WELCOME_TIMEOUT_MS, "the Welcome").catch(() => {
      this.#finish({ reason: "no Welcome in time" }, CloseCode.NORMAL);
      return undefined;
    });
  }

  /** Writes a frame that has no answer. */
  send(kind: ClientKind): void {
    if (this.isLive) this.#write(kind, 0);
  }

  /** Writes a frame whose answer is an event. @returns the number that the answer has */
  ask(kind: ClientKind): number | undefined {
    if (!this.isLive) return undefined;
    const id = this.#nextId();
    this.#write(kind, id);
    return id;
  }

  /** Writes a frame and waits for its answer. @throws {@link TidegateError} the refusal, CLOSED or TIMEOUT */
  request(kind: ClientKind): Promise<ServerKind> {
    const id = this.#nextId();
    const answer = new Promise<ServerKind>((resolve, reject) => {
      if (!this.isLive) return reject(new TidegateError("CLOSED", "there is no session"));
      this.#requests.set(id, { resolve, reject });
      this.#write(kind, id);
    });
    return within(answer, ANSWER_TIMEOUT_MS, "the answer").finally(() => this.#requests.delete(id));
  }

  /** Hands over a new token. A Pong behind it says that it was taken. @throws {@link TidegateError} the refusal */
  async refresh(token: string): Promise<void> {
    const refusal = this.request({ case: "refresh", value: { $typeName: "tidegate.v1.Refresh", token } });
    const pong = this.request(PING);
    await Promise.race([refusal, pong]);
    refusal.catch(() => {});
    pong.catch(() => {});
  }

  /** Writes a frame as a datagram where that is possible, otherwise like any other. */
  sendVolatile(kind: ClientKind): void {
    if (!this.isLive) return;
    const frame = encode(kind, 0);
    if (!this.#wire.trySendDatagram(frame)) this.#wire.send(frame);
  }

  /** Pings at once: something about the network or the page has changed. */
  ping(): void {
    if (!this.isLive) return;
    const id = this.#nextId();
    const now = Date.now();
    this.#pings.set(id, now);
    if (this.#pings.size > MAX_OPEN_PINGS) this.#pings.delete(this.#pings.keys().next().value ?? 0);
    this.#write(PING, id);
    this.#heartbeat.pinged(now);
    this.#pulse.set(this.#heartbeat.nextAt);
  }

  /** Sets how often to ping. */
  setHeartbeat(intervalMs: number): void {
    this.#heartbeat.setInterval(intervalMs, Date.now());
    if (this.isLive) this.#pulse.set(this.#heartbeat.nextAt);
  }

  /** Takes leave and ends the session. */
  close(reason: string): void {
    this.send({ case: "bye", value: { $typeName: "tidegate.v1.Bye" } });
    this.#finish({ code: CloseCode.NORMAL, reason }, CloseCode.NORMAL);
  }

  /** Ends the session without a word, as a cut cable does: nothing more is read or written. */
  drop(reason: string): void {
    this.#finish({ reason }, CloseCode.NORMAL);
  }

  #beat(): void {
    const beat = this.#heartbeat.check(Date.now());
    if (beat === "dead") return this.#finish({ reason: "the connection went silent" }, CloseCode.NORMAL);
    if (beat === "ping") return this.ping();
    this.#pulse.set(this.#heartbeat.nextAt);
  }

  #read(bytes: Uint8Array): void {
    if (this.#stage === "ended") return;
    let frame: ServerFrame;
    try {
      frame = fromBinary(ServerFrameSchema, bytes);
    } catch {
      return this.#finish({ reason: "a frame that cannot be read" }, CloseCode.PROTOCOL_ERROR);
    }
    if (frame.kind.case !== undefined) this.#dispatch(frame.id, frame.kind);
  }

  #dispatch(id: number, kind: ServerKind): void {
    switch (kind.case) {
      case "welcome":
        return this.#onWelcome(kind.value);
      case "pong":
        return this.#onPong(id, kind);
      case "goAway":
        return this.#onFarewell(kind.value.reason, kind.value);
      case "error":
        return this.#onError(id || kind.value.id, kind.value);
      case "page":
        return this.#requests.get(id)?.resolve(kind);
      default:
        if (this.isLive) this.#events.frame(kind, id);
    }
  }

  #onWelcome(welcome: Welcome): void {
    if (this.#stage !== "opening") return;
    this.#stage = "live";
    this.#events.welcome(welcome);
    this.#welcomed?.(welcome);
    this.#wire.readLanes();
    this.ping();
  }

  #onPong(id: number, kind: ServerKind): void {
    const sentAt = this.#pings.get(id);
    this.#pings.delete(id);
    if (sentAt !== undefined) this.#events.rtt(Date.now() - sentAt);
    this.#requests.get(id)?.resolve(kind);
    this.#pulse.set(this.#heartbeat.nextAt);
    if (this.isLive) this.#events.frame(kind, id);
  }

  #onError(id: number, frame: ErrorFrame): void {
    if (frame.close) return this.#onFarewell(frame.close, frame);
    const error = new TidegateError(codeName(frame.code), frame.message, Number(frame.retryAfterMs));
    const request = this.#requests.get(id);
    if (request) request.reject(error);
    else this.#events.refused(error, id);
  }

  /** The server's last frame: the connection is closed from here, with the same code. */
  #onFarewell(code: number, frame: GoAway | ErrorFrame): void {
    const reason = frame.message || closeCodeName(code);
    const alternatives = "alternatives" in frame ? frame.alternatives : undefined;
    const retryAfterMs = Number(frame.retryAfterMs);
    this.#finish({ code: code || undefined, reason, retryAfterMs, alternatives }, code || CloseCode.NORMAL);
  }

  /** @param closeWith the code to close the wire with; undefined when it is closed already */
  #finish(ending: Ending, closeWith?: number): void {
    if (this.#stage === "ended") return;
    this.#stage = "ended";
    this.#pulse.clear();
    if (closeWith !== undefined) this.#wire.close(closeWith, ending.reason);
    for (const request of this.#requests.values()) request.reject(new TidegateError("CLOSED", ending.reason));
    this.#requests.clear();
    this.#end(ending);
  }

  #write(kind: ClientKind, id: number): void {
    this.#wire.send(encode(kind, id));
  }

  #nextId(): number {
    this.#lastId = (this.#lastId % MAX_REQUEST_ID) + 1;
    return this.#lastId;
  }
}

function encode(kind: ClientKind, id: number): Uint8Array {
  return toBinary(ClientFrameSchema, create(ClientFrameSchema, { id, kind }));
}

const PING: ClientKind = { case: "ping", value: { $typeName: "tidegate.v1.Ping" } };
/** Pings without a Pong whose time is remembered; a dead connection ends long before. */
const MAX_OPEN_PINGS = 16;
const MAX_REQUEST_ID = 2 ** 31 - 1;
