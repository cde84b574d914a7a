// The race of the transports to *open*. Who wins gets the Hello; it sends none itself.

import { CloseCode } from "./gen/tidegate/v1/client_pb";
import { HEAD_START_MS, OPEN_TIMEOUT_MS } from "./limits";
import type { Endpoints, Transport, Wire } from "./transport";

/** The first open connection. */
export interface Winner {
  /** What won. */
  transport: Transport;
  /** Its connection. */
  wire: Wire;
}

/**
 * Opens the transports in their order, each 500 ms after the one before or at its failure, and gives the first that is
 * open. The others are closed without a Hello, those that open later too.
 *
 * @param abort ends the race without a winner
 * @throws when all have failed, after 10 s, or on `abort`; the message says how each one failed
 */
export function openFirst(transports: Transport[], endpoints: Endpoints, abort: AbortSignal): Promise<Winner> {
  return new Promise((resolve, reject) => {
    const losers = new AbortController();
    const failures: string[] = [];
    let next = 0;
    let isOver = false;
    let headStart: ReturnType<typeof setTimeout> | undefined;

    const end = (): void => {
      isOver = true;
      clearTimeout(headStart);
      clearTimeout(limit);
      abort.removeEventListener("abort", onAbort);
      losers.abort();
    };
    const fail = (reason: string): void => {
      end();
      reject(new Error(reason));
    };
    const onAbort = (): void => fail("aborted");
    const limit = setTimeout(() => fail("nothing opened in time"), OPEN_TIMEOUT_MS);

    const startNext = (): void => {
      clearTimeout(headStart);
      const transport = transports[next++];
      if (!transport) return;
      headStart = setTimeout(startNext, HEAD_START_MS);
      transport.open(endpoints, losers.signal).then(
        (wire) => {
          if (isOver) return wire.close(CloseCode.NORMAL, "another transport was faster");
          end();
          resolve({ transport, wire });
        },
        (error: unknown) => {
          if (isOver) return;
          failures.push(`${transport.name}: ${error instanceof Error ? error.message : String(error)}`);
          if (failures.length === transports.length) fail(failures.join("; "));
          else startNext();
        },
      );
    };

    abort.addEventListener("abort", onAbort);
    if (abort.aborted) onAbort();
    else if (transports.length === 0) fail("no transport can be used here");
    else startNext();
  });
}
