/**
 * The browser client of tidegate: messages that are never lost, never doubled and in order, over WebTransport where
 * that works and WebSocket elsewhere.
 *
 * @packageDocumentation
 */

export { TidegateClient } from "./client";
export { TidegateError, type ErrorCode } from "./errors";
export type { HistoryEntry, HistoryPage, PullRange } from "./history";
export { directConversation, isChannel, isId, textOf, type Message, type Outgoing } from "./message";
export type {
  ClientEvents,
  ClientOptions,
  ConnectionStatus,
  OutgoingSignal,
  SignalEvent,
  WelcomeEvent,
} from "./options";
export type { SendHandle, SendState } from "./send-handle";
export { memoryStore, type Store } from "./state";
export type {
  SubscribedEvent,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionState,
} from "./subscription";
export type { Endpoints, Transport, Wire, WireEvents } from "./transport";
export { webSocketTransport } from "./websocket";
export { webTransportTransport } from "./webtransport";
