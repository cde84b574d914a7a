// Keeps one session alive: opens, reconnects with backoff, obeys farewells. Knows nothing of messages.

import { within } from "./alarm";
import { isFinal, nextAfter, type Ending } from "./ending";
import { TidegateError } from "./errors";
import type { Hello } from "./gen/tidegate/v1/client_pb";
import { APPLICATION_TIMEOUT_MS, STABLE_SESSION_MS } from "./limits";
import { openFirst } from "./race";
import { Route } from "./route";
import { Session, type SessionEvents } from "./session";
import type { TokenSource } from "./token";
import type { Endpoints, Transport, Wire } from "./transport";

/** What a {@link Connector} needs and whom it tells. */
export interface ConnectorOptions {
  /** Where to connect; asked for at each attempt. */
  endpoints: () => Promise<Endpoints>;
  /** The tokens. */
  tokens: TokenSource;
  /** The Hello of the next attempt on this wire. */
  hello: (wire: Wire, token: string) => Hello;
  /** How often to ping just now. */
  heartbeatMs: () => number;
  /** The events of a session. */
  events: SessionEvents;
  /** An attempt begins. */
  onConnecting: () => void;
  /** A session is over, or could not be had; the next attempt comes in `retryInMs`. */
  onWaiting: (ending: Ending, retryInMs: number) => void;
  /** The network was switched off. */
  onOffline: () => void;
  /** It is over for good. */
  onStopped: (ending: Ending) => void;
}

/** The loop that opens sessions, one after the other. */
export class Connector {
  #transports: Transport[];
  readonly #options: ConnectorOptions;
  readonly #route = new Route();
  #session: Session | undefined;
  #isRunning = false;
  #isOnline = true;
  #failures = 0;
  #tokenIsNew = false;
  /** Ends whatever the loop is waiting for, except a live session. */
  #wake = new AbortController();
  #isWaiting = false;
  /** The next attempt does not wait: the application asked for it. */
  #isHurried = false;
  #run = 0;

  constructor(options: ConnectorOptions, transports: Transport[]) {
    this.#options = options;
    this.#transports = transports;
  }

  /** The session, while it is live. */
  get session(): Session | undefined {
    return this.#session?.isLive ? this.#session : undefined;
  }

  /** Starts the loop. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#failures = 0;
    this.#tokenIsNew = false;
    void this.#loop(++this.#run);
  }

  /** Ends the loop and the session. */
  stop(reason: string): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#session?.close(reason);
    this.#wakeUp();
  }

  /** Cuts the network or mends it. */
  setOnline(isOnline: boolean): void {
    if (isOnline === this.#isOnline) return;
    this.#isOnline = isOnline;
    if (isOnline) this.#failures = 0;
    else this.#session?.drop("the network was cut");
    this.#wakeUp();
  }

  /** Drops the connection; the next one is opened now, or after the wait of a lost connection. */
  reconnect(reason: string, when: "now" | "with backoff"): void {
    this.#isHurried = when === "now";
    this.#session?.drop(reason);
    if (this.#isHurried) this.#wakeUp();
  }

  /** Does not wait any longer before the next attempt. An attempt under way goes on. */
  hurry(): void {
    if (this.#isWaiting) this.#wakeUp();
  }

  /** Chooses other transports and reconnects over them. */
  setTransports(transports: Transport[]): void {
    this.#transports = transports;
    this.reconnect("another transport was chosen", "now");
  }

  async #loop(run: number): Promise<void> {
    while (this.#isRunning && run === this.#run) {
      if (!this.#isOnline) {
        this.#options.onOffline();
        await this.#sleep(Infinity);
        continue;
      }
      const ending = await this.#live();
      this.#route.note(ending.alternatives);
      if (!this.#isRunning || run !== this.#run) return;
      const next = nextAfter(ending, this.#failures++, this.#tokenIsNew, Math.random());
      if (next.action === "stop") {
        this.#isRunning = false;
        return this.#options.onStopped(ending);
      }
      this.#tokenIsNew = next.withNewToken;
      if (!this.#isOnline) continue;
      const delayMs = this.#isHurried ? 0 : next.delayMs;
      this.#isHurried = false;
      this.#options.onWaiting(ending, delayMs);
      await this.#sleep(delayMs);
    }
  }

  /** Gets a session and stays with it to its end. */
  async #live(): Promise<Ending> {
    const wake = new AbortController();
    this.#wake = wake;
    this.#options.onConnecting();
    let session: Session | undefined;
    try {
      session = await this.#open(wake.signal);
      const since = Date.now();
      const wasNew = this.#tokenIsNew;
      const ending = await session.ended;
      if (Date.now() - since >= STABLE_SESSION_MS) this.#failures = 0;
      // A session that lived shows that its token was good; the next refusal is about a token's end.
      if (wasNew && Date.now() - since >= STABLE_SESSION_MS) this.#tokenIsNew = false;
      return ending;
    } catch (error) {
      return error instanceof EndedEarly ? error.ending : { reason: reasonOf(error) };
    } finally {
      if (this.#session === session) this.#session = undefined;
    }
  }

  async #open(abort: AbortSignal): Promise<Session> {
    const now = Date.now();
    const token = this.#tokenIsNew ? this.#options.tokens.renew(now) : this.#options.tokens.current(now);
    const [good, own] = await within(
      unlessAborted(Promise.all([token, this.#options.endpoints()]), abort),
      APPLICATION_TIMEOUT_MS,
      "the application's token or endpoints",
    );
    let ending: Ending = { reason: "no server can be reached" };
    for (const endpoints of this.#route.round(own, Math.random)) {
      const outcome = await this.#openAt(endpoints, good, abort);
      if (outcome instanceof Session) return outcome;
      ending = outcome;
      if (abort.aborted || (ending.code !== undefined && isFinal(ending.code))) break;
    }
    throw new EndedEarly(ending);
  }

  /** Tries one server, with one transport less after each that opened and had no Welcome. */
  async #openAt(endpoints: Endpoints, token: string, abort: AbortSignal): Promise<Session | Ending> {
    let transports = this.#transports.filter((transport) => transport.isUsable(endpoints));
    let ending: Ending = { reason: "no transport can be used here" };
    while (transports.length > 0) {
      const winner = await openFirst(transports, endpoints, abort).catch(reasonOf);
      if (typeof winner === "string") return { reason: winner };
      const session = this.#begin(winner.wire);
      const welcome = await session.hello({ case: "hello", value: this.#options.hello(winner.wire, token) });
      if (welcome) return session;
      ending = await session.ended;
      const isAnswer = ending.code !== undefined && (isFinal(ending.code) || Boolean(ending.retryAfterMs));
      if (isAnswer || abort.aborted) break;
      transports = transports.filter((transport) => transport !== winner.transport);
    }
    return ending;
  }

  #begin(wire: Wire): Session {
    const session = new Session(wire, this.#options.events, this.#options.heartbeatMs());
    this.#session = session;
    return session;
  }

  #wakeUp(): void {
    this.#wake.abort();
  }

  /** Waits, at most until {@link #wakeUp}. */
  async #sleep(ms: number): Promise<void> {
    const wake = new AbortController();
    this.#wake = wake;
    this.#isWaiting = true;
    await new Promise<void>((resolve) => {
      const timer = ms === Infinity ? undefined : setTimeout(resolve, ms);
      wake.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#isWaiting = false;
  }
}

/** A session that ended before its Welcome. */
class EndedEarly extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.reason);
    this.ending = ending;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function unlessAborted<T>(promise: Promise<T>, abort: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new TidegateError("CLOSED", "aborted"));
    if (abort.aborted) return onAbort();
    abort.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject);
  });
}
