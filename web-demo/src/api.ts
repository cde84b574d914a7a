// What the demo asks its server over HTTP: a token for a name, and where to connect.

import type { Endpoints } from "../sdk";

/** Of the server that the page came from; the other gateways of its cluster stand in for it when it is gone. */
let known: { own: Endpoints; others: Alternative[] } | undefined;
const tokens = new Map<string, string>();

/** A development token for a user; while the page's own server is gone, the last one: it is good at each gateway. */
export async function fetchToken(user: string): Promise<string> {
  try {
    const { token } = await fetchJson<{ token: string }>(`/demo/token?user=${encodeURIComponent(user)}`);
    tokens.set(user, token);
  } catch (error) {
    if (!tokens.has(user) || !known?.others.length) throw error;
  }
  return tokens.get(user) ?? "";
}

/**
 * Where to connect. Asked for at each connect: the development certificate is renewed now and then. By WebSocket to another
 * gateway without TLS, since no WebSocket can be told to believe that certificate.
 */
export async function fetchEndpoints(): Promise<Endpoints> {
  try {
    const answer = await fetchJson<ConnectAnswer>("/demo/connect");
    const own: Endpoints = {
      websocket: answer.websocket,
      ...(answer.webtransport ? { webtransport: answer.webtransport } : {}),
      ...(answer.cert_sha256 ? { certSha256: answer.cert_sha256 } : {}),
    };
    known = { own, others: answer.alternatives ?? [] };
    return own;
  } catch (error) {
    const other = known?.others[Math.floor(Math.random() * known.others.length)];
    if (!known || !other) throw error;
    const websocket = other.plain ? `ws://${other.plain}/ws` : `wss://${other.secure}/ws`;
    return { ...known.own, webtransport: `https://${other.secure}/wt`, websocket };
  }
}

interface ConnectAnswer {
  webtransport?: string;
  websocket: string;
  cert_sha256?: string;
  alternatives?: Alternative[];
}

/** Another gateway of the cluster: `host:port` over TLS, and without it, where pages reach it so. */
interface Alternative {
  secure: string;
  plain: string;
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path.split("?")[0]} answered ${response.status}`);
  return (await response.json()) as T;
}

const REQUEST_TIMEOUT_MS = 10_000;
