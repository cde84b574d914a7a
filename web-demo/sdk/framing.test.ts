import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { delimit, FrameSplitter, FramingError } from "./framing";
import { ClientFrameSchema, CloseCode, Code, ServerFrameSchema, StreamHeaderSchema } from "./gen/tidegate/v1/client_pb";

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (data: Uint8Array): string => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function split(wire: Uint8Array, cut: number, max?: number): Uint8Array[] {
  const splitter = new FrameSplitter(max);
  const frames = [];
  for (let at = 0; at < wire.length; at += cut) {
    splitter.push(wire.subarray(at, at + cut));
    for (let frame = splitter.next(); frame; frame = splitter.next()) frames.push(frame.slice());
  }
  expect(splitter.hasRest).toBe(false);
  return frames;
}

describe("lengths", () => {
  // By hand from the protobuf encoding guide: seven bits a byte, the lowest first.
  test.each([
    [1, "01"],
    [127, "7f"],
    [128, "8001"],
    [300, "ac02"],
    [16_383, "ff7f"],
    [16_384, "808001"],
    [73_728, "80c004"],
  ])("%i is written as %s", (length, prefix) => {
    const framed = delimit(new Uint8Array(length));
    expect(hex(framed.subarray(0, framed.length - length))).toBe(prefix);
    expect(split(framed, 1000)[0]?.length).toBe(length);
  });

  test.each(["00", "8100", "808000", "ffffffffff", "8080808080"])("%s is refused", (wire) => {
    const splitter = new FrameSplitter();
    splitter.push(bytes(wire));
    expect(() => splitter.next()).toThrow(FramingError);
  });

  test("a large length is refused before its bytes are there", () => {
    const splitter = new FrameSplitter(10);
    splitter.push(bytes("0b"));
    expect(() => splitter.next()).toThrow("over the limit of 10");
    const large = new FrameSplitter();
    large.push(bytes("ffffffff0f"));
    expect(() => large.next()).toThrow("4294967295");
  });

  test("a length without its end waits", () => {
    const splitter = new FrameSplitter();
    splitter.push(bytes("ffffff"));
    expect(splitter.next()).toBeUndefined();
    expect(splitter.hasRest).toBe(true);
  });
});

test("frames survive any cut", () => {
  const frames = [1, 5, 127, 128, 300, 20_000].map((length, index) => new Uint8Array(length).fill(index + 1));
  const wire = new Uint8Array(frames.flatMap((frame) => [...delimit(frame)]));
  for (const cut of [1, 2, 3, 7, 128, 1000, wire.length]) expect(split(wire, cut)).toEqual(frames);
});

describe("frames match bytes written by hand", () => {
  test("Ping 7", () => {
    // id = 1: 08 07; ping = 11, length-delimited, empty: 5a 00
    const frame = create(ClientFrameSchema, { id: 7, kind: { case: "ping", value: {} } });
    expect(hex(delimit(toBinary(ClientFrameSchema, frame)))).toBe("0408075a00");
  });

  test("Send to bob", () => {
    // send = 3 { msg = 1 { receiver_id = 2 "bob", local_id = 3 "a", content_type = 9: 1, content = 10 "hi" } }
    const msg = { receiverId: "bob", localId: "a", contentType: 1, content: new TextEncoder().encode("hi") };
    const frame = create(ClientFrameSchema, { kind: { case: "send", value: { msg } } });
    expect(hex(delimit(toBinary(ClientFrameSchema, frame)))).toBe("12" + "1a10" + "0a0e" + "1203626f62" + "1a0161" + "4801" + "52026869");
  });

  test("Hello with a position", () => {
    // hello = 2 { token = 1 "t", device_id = 2 "d", attempt = 3: 300, start = 6 { position = 1 { epoch "e", cursor 5 } }, lanes = 7: 4, datagrams = 8 }
    const start = { from: { case: "position" as const, value: { epoch: "e", cursor: 5n } } };
    const hello = { token: "t", deviceId: "d", attempt: 300n, start, lanes: 4, datagrams: true };
    const frame = create(ClientFrameSchema, { kind: { case: "hello", value: hello } });
    expect(hex(toBinary(ClientFrameSchema, frame))).toBe("1216" + "0a0174" + "120164" + "18ac02" + "3207" + "0a05" + "0a0165" + "1005" + "3804" + "4001");
  });

  test("Deliver with the seq beside the body", () => {
    // deliver = 4 { seq = 2: 300, msg = 3 { send_id = 1 "alice", conv_seq = 32: 2 } }
    const frame = fromBinary(ServerFrameSchema, bytes("220f" + "10ac02" + "1a0a" + "0a05616c696365" + "800202"));
    expect(frame.kind).toMatchObject({ case: "deliver", value: { seq: 300n, entry: { case: "msg", value: { sendId: "alice", convSeq: 2n } } } });
  });

  test("the last frame, with its close code", () => {
    // error = 14 { code = 1: 3, message = 2 "x", close = 5: 4101 }
    const frame = fromBinary(ServerFrameSchema, bytes("7208" + "0803" + "120178" + "288520"));
    expect(frame.kind).toMatchObject({ case: "error", value: { code: Code.UNAUTHENTICATED, message: "x", close: CloseCode.UNAUTHENTICATED } });
  });

  test("stream headers", () => {
    expect(fromBinary(StreamHeaderSchema, bytes("0803")).kind).toEqual({ case: "lane", value: 3 });
    expect(fromBinary(StreamHeaderSchema, bytes("0800")).kind).toEqual({ case: "lane", value: 0 });
    expect(fromBinary(StreamHeaderSchema, bytes("10ac02")).kind).toEqual({ case: "answerTo", value: 300 });
  });
});
