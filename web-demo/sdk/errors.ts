// What can go wrong for the application, as one error type.

import { CloseCode, Code } from "./gen/tidegate/v1/client_pb";

/** The name of a code of the protocol, or one of this client's own. */
export type ErrorCode = keyof typeof Code | "CLOSED" | "TIMEOUT";

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

/** The name of a code on the wire; `INTERNAL` for one that this client does not know. */
export function codeName(code: Code): keyof typeof Code {
  return (Code[code] as keyof typeof Code | undefined) ?? "INTERNAL";
}

/** The name of a close code, or its number as text. */
export function closeCodeName(code: number): string {
  return CloseCode[code] ?? String(code);
}
