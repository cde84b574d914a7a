/** A message. Seqs and times are numbers, exact up to 2^53. */
export interface Message {
	/** Its seq in the timeline it came from: the inbox, unless it came from a pull of another one. */
	seq: number;
	/** The conversation it belongs to: `d:{a}:{b}`, `g:{id}` or `c:{name}`. */
	conversation: string;
	/** Its seq in the conversation. */
	convSeq: number;
	/** The server's id: 32 hex digits, the same for everybody and over all retries. */
	serverId: string;
	/** The id that the sending device chose. */
	localId: string;
	/** Who sent it. */
	sender: string;
	/** The name under which a backend wants the sender to be shown, or empty. It proves nothing. */
	nickname: string;
	/** The user it went to; empty for groups and channels. */
	receiverId: string;
	/** The group it went to, or empty. */
	groupId: string;
	/** The channel it went to, or empty. */
	channel: string;
	/** What kind of message: 0 single, 1 group, 2 channel, or a number of the application's own. */
	msgType: number;
	/** What is in `content`: 1 text, 2 image, …, or a number of the application's own. */
	contentType: number;
	/** The body, opaque to the server. */
	content: Uint8Array;
	/** When the sender's clock says it was written, in ms since 1970. */
	createTime: number;
	/** When the gateway took it, in ms since 1970; 0 for one that is not accepted yet. */
	sendTime: number;
	/** When it expires, in ms since 1970; 0: never. */
	expireAt: number;
	/** The application's reference to another message, or empty. */
	relatedId: string;
	/** Whether the own user sent it, from this device or another one. */
	own: boolean;
}
/** What to send. Exactly one of `receiverId`, `groupId` and `channel`. */
export interface Outgoing {
	/** The user it goes to. */
	receiverId?: string;
	/** The group it goes to. */
	groupId?: string;
	/** The channel it goes to. */
	channel?: string;
	/** The body; a string is sent as UTF-8. At most 64 KiB. */
	content: Uint8Array | string;
	/** What is in it; by default 1 (text) for a string and 0 for bytes. */
	contentType?: number;
	/** By default what the target says; a number of the application's own is passed on untouched. */
	msgType?: number;
	/** A reference to another message. */
	relatedId?: string;
	/** When it expires, in ms since 1970. */
	expireAt?: number;
}
/** The body as text. Bytes that are not UTF-8 become replacement characters. */
export declare function textOf(message: Pick<Message, "content">): string;
/** The name of the direct conversation of two users: both ids in byte order. */
export declare function directConversation(a: string, b: string): string;
/** A text is what an id may be: 1 to 64 of `A–Z a–z 0–9 . _ @ + -`. */
export declare function isId(text: string): boolean;
/** A text is what the name of a channel may be: 1 to 128 of what ids are made of, and `/`. */
export declare function isChannel(text: string): boolean;
/**
 * The name of a code of the protocol; or one of this client's own: `CLOSED`, there is no connection and will be none,
 * and `TIMEOUT`, nothing came in time.
 */
export type ErrorCode = "INVALID_ARGUMENT" | "TOO_LARGE" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "CONFLICT" | "RATE_LIMITED" | "UNAVAILABLE" | "LIMIT" | "UNIMPLEMENTED" | "INTERNAL" | "PROTOCOL_ERROR" | "CLOSED" | "TIMEOUT";
/** A refusal by the server, a wrong argument, or a client that was closed. */
export declare class TidegateError extends Error {
	readonly name = "TidegateError";
	/** The code's name, such as `PERMISSION_DENIED`. */
	readonly code: ErrorCode;
	/** How long to wait before another try, in milliseconds; 0: the server did not say. */
	readonly retryAfterMs: number;
	constructor(code: ErrorCode, message: string, retryAfterMs?: number);
}
/** Where to connect. */
export interface Endpoints {
	/** `https://host:port/wt`; absent: WebTransport is not offered. */
	webtransport?: string;
	/** `wss://host/ws`, or `ws://` on the same machine. */
	websocket: string;
	/** SHA-256 of the server's certificate in base64, where it is not signed by an authority. */
	certSha256?: string;
}
/** What happens on a {@link Wire}. */
export interface WireEvents {
	/** One frame, without its length. */
	frame(bytes: Uint8Array): void;
	/** Bytes arrived, whole frames or not. */
	alive(): void;
	/** The connection ended. Comes once, and not after {@link Wire.close}. */
	closed(code: number | undefined, reason: string): void;
}
/** One open connection of either kind. */
export interface Wire {
	/** The name of its transport. */
	readonly transport: string;
	/** How many lanes to ask for in Hello. */
	readonly lanes: number;
	/** Whether signals can go as datagrams. */
	readonly datagrams: boolean;
	/** Begins to read; lanes not yet. */
	start(events: WireEvents): void;
	/** Begins to read lanes and datagrams; called after Welcome. */
	readLanes(): void;
	/** Writes a frame on the control stream. */
	send(frame: Uint8Array): void;
	/** Writes a frame as a datagram; false: it has to go on the control stream. */
	trySendDatagram(frame: Uint8Array): boolean;
	/** Closes; no event comes after it. */
	close(code: number, reason: string): void;
}
/** A way to open a {@link Wire}. */
export interface Transport {
	/** Its name, as shown to people: `webtransport`, `websocket`. */
	readonly name: string;
	/** Whether it can be tried here. */
	isUsable(endpoints: Endpoints): boolean;
	/** Opens a connection; nothing is sent on it yet. After an abort what opens late closes itself. */
	open(endpoints: Endpoints, abort: AbortSignal): Promise<Wire>;
}
/** From where, in which direction and how much. */
export interface PullRange {
	/** Entries with a greater seq. */
	after?: number;
	/** Entries with a smaller seq; 0: from the head. */
	before?: number;
	/** At most so many, 1 to 1,000; by default the server's choice. */
	limit?: number;
}
/** An entry of a timeline. */
export interface HistoryEntry {
	/** Its place. */
	seq: number;
	/** The message; undefined when it expired or was deleted. */
	message: Message | undefined;
}
/** A part of a timeline, oldest first. A page is at most 64 KiB: it may hold less than was asked for. */
export interface HistoryPage {
	/** What was asked for, in the order of their seqs. */
	entries: HistoryEntry[];
	/** The timeline's last seq. */
	head: number;
	/** The timeline's first seq that is still there. */
	floor: number;
	/** Whether there are further entries in the direction asked for. */
	more: boolean;
}
/** How far a send has come. It is never lost on the way: until `stored` or `rejected` the client sends it again. */
export type SendState = "sending" | "accepted" | "stored" | "rejected";
/** One send, from the call to its end. */
export interface SendHandle {
	/** The id that names this message over all retries. */
	readonly localId: string;
	/** Settles when the message is durable. Rejects when it is refused for good or the client is closed. */
	readonly accepted: Promise<Message>;
	/** Settles when the message has its place in the conversation. Rejects like {@link accepted}. */
	readonly stored: Promise<Message>;
	/** The message as far as it is known: ids, times and seqs fill in on the way. */
	readonly message: Message;
	/** How far it has come. */
	readonly state: SendState;
	/** Why it was refused. */
	readonly error: TidegateError | undefined;
}
/** Where the client keeps its state: `localStorage`, `sessionStorage` or anything that acts like them. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;
/** A store that lasts as long as the page. */
export declare function memoryStore(): Store;
/** How to make a client. */
export interface ClientOptions {
	/** Where to connect; asked for at each attempt, so that addresses and certificate hashes may change. */
	endpoints: () => Promise<Endpoints>;
	/** A token of the application's backend; asked for when there is none, and before the last one ends. */
	token: () => Promise<string>;
	/** Names this device of the user, stable over page loads. Two pages with one device id replace each other. */
	deviceId: string;
	/** The user, where the application knows it; lets unfinished sends of an earlier page appear before the connection. */
	user?: string;
	/** Where the device's state is kept; by default `localStorage`. */
	store?: Store;
	/**
	 * Where a device begins that has no state in the store: at the head (only what comes from now on) or at the floor
	 * (everything there is). By default the server's cursor of this device, or the floor.
	 */
	start?: "head" | "floor";
	/** The transports to race, in order; by default WebTransport and WebSocket. */
	transports?: Transport[];
	/** What the client calls itself in the server's logs. */
	agent?: string;
}
/** Where the connection stands. */
export interface ConnectionStatus {
	/** `waiting`: for the next attempt; `offline`: cut by {@link TidegateClient.setOnline}; `closed`: for good. */
	state: "idle" | "connecting" | "connected" | "waiting" | "offline" | "closed";
	/** The transport of the session; undefined without one. */
	transport: string | undefined;
	/** The id of the gateway that holds the session; undefined without one. */
	gateway: string | undefined;
	/** The last round trip, in milliseconds. */
	rttMs: number | undefined;
	/** When waiting: in how many milliseconds the next attempt begins. */
	retryInMs: number | undefined;
	/** Why there is no session. */
	reason: string | undefined;
}
/** A session began. */
export interface WelcomeEvent {
	/** The own user. */
	user: string;
	/** The life of the server's data. */
	epoch: string;
	/** Deliveries begin after this seq of the inbox. */
	start: number;
	/** The inbox's last seq. */
	head: number;
	/** The inbox's first seq that is still there. */
	floor: number;
	/**
	 * Whether the server's data is another one than before, so that all the client knew of seqs is void. Messages the
	 * application has may come again; their `serverId` tells.
	 */
	isReset: boolean;
}
/** A volatile event from somebody. */
export interface SignalEvent {
	/** Who sent it. */
	from: string;
	/** The group it was sent to, or empty. */
	group: string;
	/** The channel it was sent to, or empty. */
	channel: string;
	/** The application's word for it. */
	kind: string;
	/** At most 1,000 bytes. */
	content: Uint8Array;
}
/** A volatile event to send. Exactly one of `user`, `group` and `channel`. */
export interface OutgoingSignal {
	/** The user it goes to. */
	user?: string;
	/** The group it goes to. */
	group?: string;
	/** The channel it goes to. */
	channel?: string;
	/** The application's word for it; at most 64 bytes. */
	kind: string;
	/** At most 1,000 bytes; a string is sent as UTF-8. */
	content?: Uint8Array | string;
}
/** The events of a client. */
export interface ClientEvents {
	/** A message arrived: from somebody, or from another device of the own user. Each comes once. */
	message: Message;
	/** An entry of the inbox that expired or was deleted. */
	gone: {
		seq: number;
	};
	/** A send of this device changed its state. */
	state: SendHandle;
	/** A volatile event arrived. */
	signal: SignalEvent;
	/** The connection changed, or a round trip was measured. */
	connection: ConnectionStatus;
	/** A session began. */
	welcome: WelcomeEvent;
	/** Entries of the inbox below `floor` were removed before this device got them. */
	historyGone: {
		floor: number;
	};
	/** The server refused something that is neither a send nor a pull nor a subscription. */
	error: TidegateError;
	/** The connection ended for good: `code` is the close code's name, such as `REPLACED`. */
	closed: {
		code: string;
		reason: string;
	};
}
/** Where a subscription begins. */
export interface SubscribeOptions {
	/** What comes after this seq; 0: everything that is still there. By default what comes from now on. */
	after?: number;
	/** The life of the data that gave `after`. Under another one the channel comes from its floor. */
	epoch?: string;
}
/** How far a subscription is: to be opened, or opened again; open; or over for good. */
export type SubscriptionState = "subscribing" | "live" | "ended";
/** The server said how a channel is. */
export interface SubscribedEvent {
	/** The channel's last seq. */
	head: number;
	/** Its first seq that is still there. */
	floor: number;
	/** About how many sessions subscribe to it. */
	count: number;
	/**
	 * Whether the server's data is another one than before: what the application has of the channel is void, and the
	 * channel comes from its floor.
	 */
	isReset: boolean;
}
/** The events of a subscription. */
export interface SubscriptionEvents {
	/** A message of the channel, the own ones too: each once, in the order of their seqs. A volatile one has seq 0. */
	message: Message;
	/** An entry that expired or was deleted. */
	gone: {
		seq: number;
	};
	/** Entries below `floor` were removed before this subscription got them. */
	historyGone: {
		floor: number;
	};
	/** It was opened, again after a reconnect, or {@link Subscription.refresh} was answered. */
	subscribed: SubscribedEvent;
	/** The server refused it for good, or ended it. The client does not subscribe again. */
	ended: TidegateError;
}
/** A subscription to a channel. It goes on over reconnects from where it was, until {@link unsubscribe}. */
export interface Subscription {
	/** The channel's name. */
	readonly channel: string;
	/** Settles when it is open for the first time. Rejects when it is refused for good, or ended before. */
	readonly ready: Promise<void>;
	/** How far it is. */
	readonly state: SubscriptionState;
	/** Why the server refused or ended it. */
	readonly error: TidegateError | undefined;
	/** The seq of the last entry that was handed over; undefined as long as it is not known where the head is. */
	readonly position: number | undefined;
	/** The life of the data that gave the position. To go on after a page load, keep it with the last seq. */
	readonly epoch: string | undefined;
	/** The channel's last seq, as far as it is known: each Pong says it anew. What is above `position` is on its way. */
	readonly head: number;
	/** The channel's first seq that was still there when the server last said so. */
	readonly floor: number;
	/** About how many sessions subscribed when the server last said so. */
	readonly count: number;
	/** Adds a listener. @returns a function that removes it */
	on<Name extends keyof SubscriptionEvents>(name: Name, listener: (event: SubscriptionEvents[Name]) => void): () => void;
	/** Asks for head, floor and count anew; a `subscribed` event answers. */
	refresh(): void;
	/** Ends it. Nothing of it comes any more. */
	unsubscribe(): void;
}
/**
 * A device of a user, connected over WebTransport or WebSocket. It reconnects by itself, resumes from where it was,
 * applies every message once, and sends every message until it is stored or refused.
 *
 * @example
 * ```ts
 * const client = new TidegateClient({ endpoints, token, deviceId: "laptop-1" });
 * client.on("message", (message) => console.log(message.sender, textOf(message)));
 * client.connect();
 * await client.send({ receiverId: "bob", content: "hello" }).stored;
 * ```
 */
export declare class TidegateClient {
	#private;
	constructor(options: ClientOptions);
	/** The own user; empty until it is known. */
	get user(): string;
	/** Where the connection stands. */
	get status(): ConnectionStatus;
	/** The sends that are neither stored nor refused, in order; also those that an earlier page left. */
	get pending(): SendHandle[];
	/** Adds a listener. @returns a function that removes it */
	on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void;
	/** Connects, and stays connected until {@link close} or a `closed` event; after the latter it may be called again. */
	connect(): void;
	/**
	 * Sends a message. It goes out now or when there is a connection, in the order of the calls.
	 *
	 * @throws {@link TidegateError} INVALID_ARGUMENT, TOO_LARGE, LIMIT when 1,000 wait, CLOSED
	 */
	send(outgoing: Outgoing): SendHandle;
	/** Sends a volatile event: now or never. @returns whether there was a connection */
	signal(signal: OutgoingSignal): boolean;
	/**
	 * Reads a part of a timeline: a conversation's name, or the empty text for the own inbox. Waits for a connection.
	 *
	 * @throws {@link TidegateError} the server's refusal, LIMIT, CLOSED or TIMEOUT (30 s)
	 */
	pull(timeline: string, range: PullRange): Promise<HistoryPage>;
	/**
	 * Subscribes to a channel, now or when there is a connection, and again after each reconnect, from where it was. A
	 * channel that is subscribed to is asked about anew, and its position stays.
	 *
	 * @throws {@link TidegateError} INVALID_ARGUMENT, CLOSED. What the server refuses is told by the subscription
	 */
	subscribe(channel: string, options?: SubscribeOptions): Subscription;
	/** Fetches a new token and hands it to the running session. The client does this by itself before a token ends. */
	refreshToken(): Promise<void>;
	/** For demonstrations and tests: `false` cuts the connection without a word and stays away until `true`. */
	setOnline(isOnline: boolean): void;
	/** Chooses other transports and reconnects over them. */
	setTransports(transports: Transport[]): void;
	/** Acknowledges, takes leave and ends the client. What is not stored stays in the store for the next one. */
	close(): void;
}
/** The WebSocket transport. */
export declare function webSocketTransport(): Transport;
/** The WebTransport transport, for browsers that have it. */
export declare function webTransportTransport(): Transport;

export {};
