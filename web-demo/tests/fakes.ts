// A transport and a server for tests: no network, nothing happens that the test does not say.

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ClientFrameSchema, ServerFrameSchema, type ClientFrame } from "../sdk/gen/tidegate/v1/client_pb";
import type { Endpoints, Transport, Wire, WireEvents } from "../sdk";

type ServerKind = NonNullable<MessageInitShape<typeof ServerFrameSchema>["kind"]>;

/** A wire whose far end is the test. */
export class FakeWire implements Wire {
  readonly lanes = 0;
  readonly datagrams = false;
  /** What the client wrote. */
  readonly sent: ClientFrame[] = [];
  /** The code the client closed it with. */
  closedWith: number | undefined;
  lanesAreRead = false;
  events: WireEvents | undefined;

  constructor(
    readonly transport: string,
    /** Where the client wanted to go. */
    readonly endpoints: Endpoints,
  ) {}

  start(events: WireEvents): void {
    this.events = events;
  }

  readLanes(): void {
    this.lanesAreRead = true;
  }

  send(frame: Uint8Array): void {
    this.sent.push(fromBinary(ClientFrameSchema, frame));
  }

  trySendDatagram(): boolean {
    return false;
  }

  close(code: number): void {
    this.closedWith = code;
    this.events = undefined;
  }

  /** The server says something. */
  says(kind: ServerKind, id = 0): void {
    const frame = toBinary(ServerFrameSchema, create(ServerFrameSchema, { id, kind } as never));
    this.events?.alive();
    this.events?.frame(frame);
  }

  /** The server welcomes the client. */
  welcome(start = 0, more: { epoch?: string; head?: number } = {}): void {
    const { epoch = "e", head = start } = more;
    const value = { userId: "alice", epoch, start: BigInt(start), head: BigInt(head), floor: 1n, serverTime: BigInt(Date.now()) };
    this.says({ case: "welcome", value });
  }

  /** A message of bob's arrives. */
  delivers(seq: number, msg: { sendId?: string; localId?: string } = {}): void {
    const value = { seq: BigInt(seq), entry: { case: "msg" as const, value: { sendId: "bob", receiverId: "alice", localId: `b${seq}`, ...msg } } };
    this.says({ case: "deliver", value } as ServerKind);
  }

  /** A message of bob's arrives in a channel. */
  posts(channel: string, seq: number, msg: { sendId?: string; localId?: string; nickname?: string } = {}): void {
    const value = { sendId: "bob", channel, localId: `${channel}${seq}`, convSeq: BigInt(seq), ...msg };
    this.says({ case: "deliver", value: { timeline: `c:${channel}`, seq: BigInt(seq), entry: { case: "msg", value } } } as ServerKind);
  }

  /** The server answers the last Subscribe to a channel. */
  subscribed(channel: string, head: number, { floor = 1, count = 1 } = {}): void {
    this.says({ case: "subscribed", value: { channel, head: BigInt(head), floor: BigInt(floor), count: BigInt(count) } }, this.idOf(channel));
  }

  /** The number of the last Subscribe to a channel. */
  idOf(channel: string): number {
    const asked = this.sent.findLast(({ kind }) => kind.case === "subscribe" && kind.value.channel === channel);
    if (!asked) throw new Error(`nobody subscribes to ${channel}`);
    return asked.id;
  }

  /** What the client wrote of one kind. */
  all<Case extends ClientFrame["kind"]["case"]>(name: Case): Extract<ClientFrame["kind"], { case: Case }>["value"][] {
    return this.sent.flatMap(({ kind }) => (kind.case === name ? [kind.value] : [])) as never;
  }
}

/** A transport that opens when the test says so, or by itself after a while. */
export class FakeTransport implements Transport {
  /** The wires that were asked for, in order. */
  readonly wires: FakeWire[] = [];
  #settle: { open(): void; fail(): void }[] = [];

  /** @param openAfterMs opens by itself; undefined: waits for {@link open} or {@link fail} */
  constructor(
    readonly name: string,
    private openAfterMs?: number,
  ) {}

  isUsable(): boolean {
    return true;
  }

  open(endpoints: Endpoints): Promise<Wire> {
    const wire = new FakeWire(this.name, endpoints);
    this.wires.push(wire);
    return new Promise((resolve, reject) => {
      this.#settle.push({ open: () => resolve(wire), fail: () => reject(new Error("refused")) });
      if (this.openAfterMs !== undefined) setTimeout(() => resolve(wire), this.openAfterMs);
    });
  }

  /** The last one asked for opens. */
  opens(): void {
    this.#settle.at(-1)?.open();
  }

  /** The last one asked for fails. */
  fails(): void {
    this.#settle.at(-1)?.fail();
  }

  /** The last wire. */
  get wire(): FakeWire {
    const wire = this.wires.at(-1);
    if (!wire) throw new Error(`${this.name} was not asked`);
    return wire;
  }
}
