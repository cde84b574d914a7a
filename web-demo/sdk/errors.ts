// What can go wrong for the application, as one error type.

import { CloseCode, Code } from "./gen/tidegate/v1/client_pb";

/**
 * The name of a code of the protocol; or one of this client's own: `CLOSED`, there is no connection and will be none,
 * and `TIMEOUT`, nothing came in time.
 */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "TOO_LARGE"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "NOT_FOUND"
  | "CONFLICT"
  | "RATE_LIMITED"
  | "UNAVAILABLE"
  | "LIMIT"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "PROTOCOL_ERROR"
  | "CLOSED"
  | "TIMEOUT";

/** A refusal by the server, a wrong argument, or a client that was closed. */
export class TidegateError extends Error {
  override readonly name = "TidegateError";
  /** The code's name, such as `PERMISSION_DENIED`. */
  readonly code: ErrorCode;
  /** How long to wait before another try, in milliseconds; 0: the server did not say. */
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, retryAfterMs = 0) {
    super(message || code);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The name of a code on the wire; `INTERNAL` for one that this client does not know, or that is no refusal. */
export function codeName(code: Code): ErrorCode {
  const name = Code[code] as Exclude<keyof typeof Code, "OK"> | undefined;
  return code === Code.OK || name === undefined ? "INTERNAL" : name;
}

/** The name of a close code, or its number as text. */
export function closeCodeName(code: number): string {
  return CloseCode[code] ?? String(code);
}
