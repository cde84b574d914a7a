// The first frame of a session. Pure.

import { create } from "@bufbuild/protobuf";
import { HelloSchema, PositionSchema, StartSchema, type Hello, type Start } from "./gen/tidegate/v1/client_pb";
import type { ClientOptions } from "./options";
import type { Wire } from "./transport";

/** From where a device that was here before goes on. */
export interface KnownPosition {
  /** The life of the data that gave the cursor. */
  epoch: string;
  /** Everything up to here is applied. */
  cursor: number;
}

/** The Hello of a connection attempt. */
export function helloFor(options: ClientOptions, wire: Wire, token: string, attempt: number, known?: KnownPosition): Hello {
  const start = startOf(options, known);
  return create(HelloSchema, {
    token,
    deviceId: options.deviceId,
    attempt: BigInt(attempt),
    platform: "web",
    agent: options.agent ?? "tidegate-web",
    lanes: wire.lanes,
    datagrams: wire.datagrams,
    ...(start ? { start } : {}),
  });
}

function startOf({ start }: ClientOptions, known: KnownPosition | undefined): Start | undefined {
  if (known) {
    const value = create(PositionSchema, { epoch: known.epoch, cursor: BigInt(known.cursor) });
    return create(StartSchema, { from: { case: "position", value } });
  }
  return start && create(StartSchema, { from: { case: start, value: true } });
}
