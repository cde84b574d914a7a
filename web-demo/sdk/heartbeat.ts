// When to Ping and when a silent connection is dead. Knows time only as it is told.

import { PONG_TIMEOUT_MS } from "./limits";

/** What is to be done now. */
export type Beat = "ping" | "dead" | "wait";

/**
 * The heartbeat of one session. Whatever arrives after a Ping is a sign of life, not only its Pong: behind a large
 * catch-up on a slow path the Pong may stand in a queue for longer than the time-out.
 */
export class Heartbeat {
  #intervalMs: number;
  #nextPingAt: number;
  #deadAt: number | undefined;
  #graceGiven = false;

  constructor(intervalMs: number, now: number) {
    this.#intervalMs = intervalMs;
    this.#nextPingAt = now + intervalMs;
  }

  /** Sets how often to ping; takes effect with the next Ping. */
  setInterval(intervalMs: number, now: number): void {
    this.#intervalMs = intervalMs;
    this.#nextPingAt = Math.min(this.#nextPingAt, now + intervalMs);
  }

  /** Notes that a Ping was sent. */
  pinged(now: number): void {
    this.#nextPingAt = now + this.#intervalMs;
    this.#deadAt ??= now + PONG_TIMEOUT_MS;
  }

  /** Notes that something arrived. */
  heard(): void {
    this.#deadAt = undefined;
    this.#graceGiven = false;
  }

  /**
   * What is to be done at `now`. A check that comes late, after a sleep of the machine or in a throttled tab, says
   * nothing about the connection: it gets one more Ping.
   */
  check(now: number): Beat {
    if (this.#deadAt !== undefined && now >= this.#deadAt) {
      const isLate = now - this.#deadAt > LATE_MS;
      if (!isLate || this.#graceGiven) return "dead";
      this.#graceGiven = true;
      this.#deadAt = undefined;
      return "ping";
    }
    return now >= this.#nextPingAt ? "ping" : "wait";
  }

  /** When to check next. */
  get nextAt(): number {
    return Math.min(this.#nextPingAt, this.#deadAt ?? Infinity);
  }
}

/** A check that is later than this was held up by the machine, not by the network. */
const LATE_MS = 1_000;
