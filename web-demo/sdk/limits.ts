// The numbers of the client protocol and of this client, in one place. Units are in the names.

/** The largest frame, without its length. */
export const MAX_FRAME_BYTES = 72 * 1024;
/** The largest content of a message. */
export const MAX_CONTENT_BYTES = 64 * 1024;
/** The largest content of a signal. */
export const MAX_SIGNAL_BYTES = 1_000;
/** The largest datagram sent; what every path and browser carries. */
export const MAX_DATAGRAM_BYTES = 1_150;
/** Sends without ACCEPTED or REJECTED, unless the server allows fewer. */
export const MAX_IN_FLIGHT = 64;
/** Messages that may wait for their STORED, in flight or not; a send beyond it throws. */
export const MAX_PENDING = 1_000;
/** Seqs kept above the cursor; beyond it the client reconnects. */
export const MAX_APPLIED_ABOVE_CURSOR = 4_096;
/** How many lanes the client asks for over WebTransport. */
export const LANES = 4;
/** The most entries of one {@link TidegateClient.pull}. */
export const MAX_PULL_ENTRIES = 1_000;
/** Pulls that may wait for their turn. */
export const MAX_WAITING_PULLS = 64;

/** The start that WebTransport has over WebSocket in the race to open. */
export const HEAD_START_MS = 500;
/** Nothing open by then: the attempt has failed. */
export const OPEN_TIMEOUT_MS = 10_000;
/** No Welcome by then: the next transport is tried. */
export const WELCOME_TIMEOUT_MS = 3_000;
/** How long the application may take for a token or the endpoints. */
export const APPLICATION_TIMEOUT_MS = 15_000;
/** Nothing heard for that long after a Ping: the connection is dead. */
export const PONG_TIMEOUT_MS = 3_000;
/** How often a visible page pings. */
export const VISIBLE_HEARTBEAT_MS = 5_000;
/** How often a hidden page pings. */
export const HIDDEN_HEARTBEAT_MS = 25_000;
/** Neither STORED nor REJECTED by then: the message is sent again. */
export const RESEND_AFTER_MS = 30_000;
/** An acknowledgement waits for at most this long, … */
export const ACK_DELAY_MS = 1_000;
/** … and for at most this many messages. */
export const ACK_EVERY = 64;
/** The longest a pull takes, reconnects included. */
export const PULL_TIMEOUT_MS = 30_000;
/** The longest an answer may take within one session. */
export const ANSWER_TIMEOUT_MS = 10_000;
/** A session that lived that long was a good one: the next backoff begins anew. */
export const STABLE_SESSION_MS = 5_000;
