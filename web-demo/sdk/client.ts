// The client: the application's calls on one side, sessions on the other, and between them inbox, sends and state.

import { create } from "@bufbuild/protobuf";
import { Alarm, within } from "./alarm";
import { Channels } from "./channels";
import { Connector } from "./connector";
import type { Ending } from "./ending";
import { closeCodeName, TidegateError } from "./errors";
import { Emitter } from "./events";
import {
  SignalSchema,
  type Hello,
  type Receipt,
  type Signal,
  type Welcome,
} from "./gen/tidegate/v1/client_pb";
import { Gate } from "./gate";
import { helloFor } from "./hello";
import { History, type HistoryPage, type PullRange } from "./history";
import { APPLICATION_TIMEOUT_MS, HIDDEN_HEARTBEAT_MS, MAX_SIGNAL_BYTES, VISIBLE_HEARTBEAT_MS } from "./limits";
import { isId, type Message, type Outgoing } from "./message";
import type { ClientEvents, ClientOptions, ConnectionStatus, OutgoingSignal } from "./options";
import { isPageVisible, watchPage } from "./page-events";
import { Receiver, type ReceiverEvents } from "./receiver";
import type { SendHandle } from "./send-handle";
import { Sends } from "./sends";
import type { ServerKind, Session } from "./session";
import { defaultStore, DeviceState } from "./state";
import type { SubscribeOptions, Subscription } from "./subscription";
import { claimsOf, TokenSource } from "./token";
import type { Transport, Wire } from "./transport";
import { webSocketTransport } from "./websocket";
import { webTransportTransport } from "./webtransport";

/**
 * A device of a user, connected over WebTransport or WebSocket. It reconnects by itself, resumes from where it was,
 * applies every message once, and sends every message until it is stored or refused.
 *
 * @example
 * ```ts
 * const client = new TidegateClient({ endpoints, token, deviceId: "laptop-1" });
 * client.on("message", (message) => console.log(message.sender, textOf(message)));
 * client.connect();
 * await client.send({ receiverId: "bob", content: "hello" }).stored;
 * ```
 */
export class TidegateClient {
  readonly #options: ClientOptions;
  readonly #emitter = new Emitter<ClientEvents>();
  readonly #state: DeviceState;
  readonly #tokens: TokenSource;
  readonly #connector: Connector;
  readonly #history: History;
  readonly #receiver = new Receiver(this.#receiverEvents());
  readonly #channels = new Channels({
    ask: (kind) => this.#connector.session?.ask(kind),
    isLive: () => this.#connector.session !== undefined,
    user: () => this.#user,
  });
  readonly #sends = new Sends((handle) => this.#onSendState(handle));
  readonly #sendAlarm = new Alarm(() => this.#flushSends());
  readonly #tokenAlarm = new Alarm(() => void this.refreshToken().catch(() => this.#tokenAlarm.set(Date.now() + 10_000)));
  readonly #gate = new Gate();
  #user = "";
  #status: ConnectionStatus = { state: "idle", transport: undefined, gateway: undefined, rttMs: undefined, retryInMs: undefined, reason: undefined };
  #unwatch: () => void = () => {};
  #saveIsDue = { inbox: false, sends: false };
  #isClosed = false;

  constructor(options: ClientOptions) {
    if (!isId(options.deviceId)) throw new TidegateError("INVALID_ARGUMENT", "the device id is not an id");
    this.#options = options;
    this.#state = new DeviceState(options.store ?? defaultStore(), options.deviceId);
    this.#tokens = new TokenSource(options.token);
    this.#history = new History((deadline) => this.#whenLive(deadline), () => this.#user);
    this.#connector = new Connector(this.#connectorOptions(), options.transports ?? defaultTransports());
    if (options.user) this.#identify(options.user);
  }

  /** The own user; empty until it is known. */
  get user(): string {
    return this.#user;
  }

  /** Where the connection stands. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  /** The sends that are neither stored nor refused, in order; also those that an earlier page left. */
  get pending(): SendHandle[] {
    return this.#sends.handles();
  }

  /** Adds a listener. @returns a function that removes it */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  /** Connects, and stays connected until {@link close} or a `closed` event; after the latter it may be called again. */
  connect(): void {
    if (this.#isClosed) throw new TidegateError("CLOSED", "the client was closed");
    this.#unwatch();
    this.#unwatch = watchPage({
      changed: () => this.#onPageChanged(),
      online: () => {
        this.#connector.hurry();
        this.#onPageChanged();
      },
      leaving: () => this.#onLeaving(),
    });
    this.#connector.start();
  }

  /**
   * Sends a message. It goes out now or when there is a connection, in the order of the calls.
   *
   * @throws {@link TidegateError} INVALID_ARGUMENT, TOO_LARGE, LIMIT when 1,000 wait, CLOSED
   */
  send(outgoing: Outgoing): SendHandle {
    if (this.#isClosed) throw new TidegateError("CLOSED", "the client was closed");
    const handle = this.#sends.add(outgoing, this.#user);
    this.#saveSoon("sends");
    this.#flushSends();
    return handle;
  }

  /** Sends a volatile event: now or never. @returns whether there was a connection */
  signal(signal: OutgoingSignal): boolean {
    const { user = "", group = "", channel = "", kind } = signal;
    const content = typeof signal.content === "string" ? new TextEncoder().encode(signal.content) : signal.content?.slice();
    if (content && content.length > MAX_SIGNAL_BYTES) throw new TidegateError("TOO_LARGE", `a signal over ${MAX_SIGNAL_BYTES} bytes`);
    const session = this.#connector.session;
    const value = create(SignalSchema, { user, group, channel, kind, content: content as Uint8Array<ArrayBuffer> | undefined });
    session?.sendVolatile({ case: "signal", value });
    return session !== undefined;
  }

  /**
   * Reads a part of a timeline: a conversation's name, or the empty text for the own inbox. Waits for a connection.
   *
   * @throws {@link TidegateError} the server's refusal, LIMIT, CLOSED or TIMEOUT (30 s)
   */
  pull(timeline: string, range: PullRange): Promise<HistoryPage> {
    return this.#history.pull(timeline, range);
  }

  /**
   * Subscribes to a channel, now or when there is a connection, and again after each reconnect, from where it was. A
   * channel that is subscribed to is asked about anew, and its position stays.
   *
   * @throws {@link TidegateError} INVALID_ARGUMENT, CLOSED. What the server refuses is told by the subscription
   */
  subscribe(channel: string, options: SubscribeOptions = {}): Subscription {
    if (this.#isClosed) throw new TidegateError("CLOSED", "the client was closed");
    return this.#channels.subscribe(channel, options);
  }

  /** Fetches a new token and hands it to the running session. The client does this by itself before a token ends. */
  async refreshToken(): Promise<void> {
    const token = await within(this.#tokens.renew(Date.now()), APPLICATION_TIMEOUT_MS, "the application's token");
    this.#tokenAlarm.set(this.#tokens.renewAt);
    await this.#connector.session?.refresh(token);
  }

  /** For demonstrations and tests: `false` cuts the connection without a word and stays away until `true`. */
  setOnline(isOnline: boolean): void {
    this.#connector.setOnline(isOnline);
  }

  /** Chooses other transports and reconnects over them. */
  setTransports(transports: Transport[]): void {
    this.#connector.setTransports(transports);
  }

  /** Acknowledges, takes leave and ends the client. What is not stored stays in the store for the next one. */
  close(): void {
    if (this.#isClosed) return;
    this.#onLeaving();
    this.#isClosed = true;
    this.#connector.stop("closed by the application");
    this.#onStopped({ reason: "closed by the application" });
    this.#sends.abandon();
    this.#channels.abandon();
  }

  #connectorOptions(): ConstructorParameters<typeof Connector>[0] {
    return {
      endpoints: this.#options.endpoints,
      tokens: this.#tokens,
      hello: (wire, token) => this.#hello(wire, token),
      heartbeatMs,
      events: {
        welcome: (welcome) => this.#onWelcome(welcome),
        frame: (kind, id) => void (this.#channels.frame(kind, id) || this.#onFrame(kind)),
        rtt: (ms) => this.#setStatus({ rttMs: ms }),
        refused: (error, id) => void (this.#channels.refused(error, id) || this.#emitter.emit("error", error)),
      },
      onConnecting: () => this.#setStatus({ state: "connecting", transport: undefined, retryInMs: undefined }),
      onWaiting: (ending, retryInMs) => this.#onDown({ state: "waiting", retryInMs, reason: ending.reason }),
      onOffline: () => this.#onDown({ state: "offline", retryInMs: undefined, reason: "the network was cut" }),
      onStopped: (ending) => this.#onStopped(ending),
    };
  }

  #receiverEvents(): ReceiverEvents {
    return {
      message: (message) => this.#onMessage(message),
      gone: (seq) => this.#emitter.emit("gone", { seq }),
      historyGone: (floor) => this.#emitter.emit("historyGone", { floor }),
      changed: () => this.#saveSoon("inbox"),
      acknowledge: (cursor) =>
        this.#connector.session?.send({ case: "ack", value: { $typeName: "tidegate.v1.Ack", cursor: BigInt(cursor) } }),
      overflow: () => this.#connector.reconnect("too many entries above a hole", "with backoff"),
    };
  }

  #hello(wire: Wire, token: string): Hello {
    const { sub } = claimsOf(token);
    if (sub && !this.#user) this.#identify(sub);
    return helloFor(this.#options, wire, token, this.#state.nextAttempt(Date.now()), this.#receiver.position);
  }

  #onWelcome(welcome: Welcome): void {
    if (!this.#user) this.#identify(welcome.userId);
    if (this.#user !== welcome.userId) {
      this.#connector.stop("the token is of another user");
      return this.#onStopped({ reason: "the token is of another user" });
    }
    const start = Number(welcome.start);
    const isReset = this.#receiver.welcome(welcome.epoch, start);
    this.#tokens.clockOffsetMs = Number(welcome.serverTime) - Date.now();
    this.#tokenAlarm.set(this.#tokens.renewAt);
    this.#channels.newSession(welcome.epoch);
    this.#sends.newSession(Number(welcome.limits?.maxInFlight ?? 0));
    const session = this.#connector.session;
    const { epoch, head, floor, gateway } = welcome;
    this.#setStatus({ state: "connected", transport: session?.transport, gateway, rttMs: undefined, reason: undefined });
    this.#emitter.emit("welcome", { user: this.#user, epoch, start, head: Number(head), floor: Number(floor), isReset });
    this.#flushSends();
    if (session) this.#gate.open(session);
  }

  #onFrame(kind: ServerKind): void {
    switch (kind.case) {
      case "deliver":
        return this.#receiver.deliver(kind.value);
      case "receipt":
        return this.#onReceipt(kind.value);
      case "signal":
        return this.#onSignal(kind.value);
      case "historyGone":
        return this.#receiver.historyGone(kind.value);
    }
  }

  #onReceipt(receipt: Receipt): void {
    // A stored message counts as received. Without room for its seq the receipt is left alone: it comes again after
    // the reconnect.
    if (receipt.seq > 0 && this.#receiver.apply(Number(receipt.seq)) === undefined) return;
    this.#sends.receipt(receipt, Date.now());
    this.#flushSends();
  }

  #onSignal({ from, group, channel, kind, content }: Signal): void {
    this.#emitter.emit("signal", { from, group, channel, kind, content: content.slice() });
  }

  #onMessage(message: Message): void {
    if (message.own && this.#sends.delivered(message)) this.#saveSoon("sends");
    else this.#emitter.emit("message", message);
  }

  #onSendState(handle: SendHandle): void {
    if (handle.state !== "accepted") this.#saveSoon("sends");
    this.#emitter.emit("state", handle);
  }

  #flushSends(): void {
    const session = this.#connector.session;
    if (!session) return this.#sendAlarm.clear();
    for (const msg of this.#sends.due(Date.now())) {
      session.send({ case: "send", value: { $typeName: "tidegate.v1.Send", msg } });
    }
    this.#sendAlarm.set(this.#sends.nextDueAt());
  }

  #onPageChanged(): void {
    this.#connector.session?.setHeartbeat(heartbeatMs());
    this.#connector.session?.ping();
    if (isPageVisible()) this.#connector.hurry();
  }

  #onLeaving(): void {
    this.#receiver.flush();
    this.#save();
  }

  #onDown(status: Partial<ConnectionStatus>): void {
    this.#sendAlarm.clear();
    this.#receiver.pause();
    this.#channels.pause();
    this.#tokenAlarm.clear();
    this.#setStatus({ transport: undefined, gateway: undefined, rttMs: undefined, ...status });
  }

  #onStopped(ending: Ending): void {
    if (this.#status.state === "closed") return;
    this.#unwatch();
    this.#onDown({ state: "closed", retryInMs: undefined, reason: ending.reason });
    this.#gate.fail(new TidegateError("CLOSED", ending.reason));
    this.#emitter.emit("closed", { code: closeCodeName(ending.code ?? 0), reason: ending.reason });
  }

  #setStatus(change: Partial<ConnectionStatus>): void {
    this.#status = { ...this.#status, ...change };
    this.#emitter.emit("connection", this.#status);
  }

  /** From now on it is known whose device this is: takes up what it left. */
  #identify(user: string): void {
    this.#user = user;
    this.#state.setUser(user);
    this.#receiver.restore(user, this.#state.loadInbox());
    this.#sends.identify(user);
    for (const handle of this.#sends.restore(this.#state.loadPending(), user)) this.#emitter.emit("state", handle);
  }

  #saveSoon(what: "inbox" | "sends"): void {
    const isScheduled = this.#saveIsDue.inbox || this.#saveIsDue.sends;
    this.#saveIsDue[what] = true;
    if (!isScheduled) queueMicrotask(() => this.#save());
  }

  #save(): void {
    if (!this.#user) return;
    if (this.#saveIsDue.inbox) this.#state.saveInbox(this.#receiver.snapshot());
    if (this.#saveIsDue.sends) this.#state.savePending(this.#sends.messages());
    this.#saveIsDue = { inbox: false, sends: false };
  }

  #whenLive(deadline: number): Promise<Session> {
    const { session } = this.#connector;
    if (session) return Promise.resolve(session);
    if (this.#status.state === "closed") return Promise.reject(new TidegateError("CLOSED", "the client is closed"));
    return this.#gate.wait(deadline);
  }
}

function heartbeatMs(): number {
  return isPageVisible() ? VISIBLE_HEARTBEAT_MS : HIDDEN_HEARTBEAT_MS;
}

function defaultTransports(): Transport[] {
  return [webTransportTransport(), webSocketTransport()];
}
