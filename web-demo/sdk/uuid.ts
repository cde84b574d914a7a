// UUIDv7 (RFC 9562 section 5.7): ids that grow with time, also within one millisecond.

let lastMs = 0;
let counter = 0;

/** Draws a UUIDv7. Two drawn one after the other by the same page compare in that order. */
export function uuidV7(now: number = Date.now()): string {
  const random = crypto.getRandomValues(new Uint8Array(10));
  if (now > lastMs) {
    lastMs = now;
    // Half of the twelve bits are left to count upwards in.
    counter = (((random[0] ?? 0) << 8) | (random[1] ?? 0)) & 0x7ff;
  } else if (++counter > 0xfff) {
    lastMs++;
    counter = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const sequence = counter.toString(16).padStart(3, "0");
  const variant = (0x80 | ((random[2] ?? 0) & 0x3f)).toString(16);
  const tail = [...random.subarray(3)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence}-${variant}${tail.slice(0, 2)}-${tail.slice(2, 14)}`;
}
