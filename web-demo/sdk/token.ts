// When a token is renewed, and the cache that does it. Reads a JWT's claims; verifies nothing, that is the server's part.

import { decodeBase64 } from "./base64";

/** What the client reads of a token; undefined where the token does not say. */
export interface Claims {
  /** The user. */
  sub?: string | undefined;
  /** The end of its life, in milliseconds since 1970. */
  expiresAt?: number | undefined;
}

/** The claims of a JWT, or nothing for a token of another kind. */
export function claimsOf(token: string): Claims {
  try {
    const payload = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(new TextDecoder().decode(decodeBase64(payload))) as { sub?: unknown; exp?: unknown };
    return {
      sub: typeof claims.sub === "string" ? claims.sub : undefined,
      expiresAt: typeof claims.exp === "number" ? claims.exp * 1000 : undefined,
    };
  } catch {
    return {};
  }
}

/** When to fetch the token after one that was fetched at `now`: at 80 % of its life, at least 30 s before its end. */
export function renewAt(expiresAt: number | undefined, now: number): number | undefined {
  if (expiresAt === undefined) return undefined;
  const life = Math.max(0, expiresAt - now);
  return now + Math.max(MIN_RENEW_MS, Math.min(life * 0.8, life - 30_000));
}

/** Keeps the application's token while it is good. */
export class TokenSource {
  readonly #fetch: () => Promise<string>;
  #token: string | undefined;
  #renewAt: number | undefined;
  /** The server's clock minus ours, in milliseconds. */
  clockOffsetMs = 0;

  constructor(fetch: () => Promise<string>) {
    this.#fetch = fetch;
  }

  /** When a running session wants a new token, in local time; undefined: never. */
  get renewAt(): number | undefined {
    return this.#renewAt;
  }

  /** The token to use now: the last one while it is good, otherwise a new one. One of another kind is not kept. */
  async current(now: number): Promise<string> {
    const isGood = this.#token !== undefined && this.#renewAt !== undefined && now < this.#renewAt;
    return isGood && this.#token !== undefined ? this.#token : this.renew(now);
  }

  /** Fetches a new token. */
  async renew(now: number): Promise<string> {
    const token = await this.#fetch();
    this.#token = token;
    const { expiresAt } = claimsOf(token);
    this.#renewAt = renewAt(expiresAt === undefined ? undefined : expiresAt - this.clockOffsetMs, now);
    return token;
  }
}

/** A token that is always about to expire is not fetched more often than this. */
const MIN_RENEW_MS = 5_000;
