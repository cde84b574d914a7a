// What the demo asks its server over HTTP: a token for a name, and where to connect.

import type { Endpoints } from "../sdk";

/** A development token for a user. */
export async function fetchToken(user: string): Promise<string> {
  const { token } = await fetchJson<{ token: string }>(`/demo/token?user=${encodeURIComponent(user)}`);
  return token;
}

/** Where to connect. Asked for at each connect: the development certificate is renewed now and then. */
export async function fetchEndpoints(): Promise<Endpoints> {
  const answer = await fetchJson<{ webtransport?: string; websocket: string; cert_sha256?: string }>("/demo/connect");
  return {
    websocket: answer.websocket,
    ...(answer.webtransport ? { webtransport: answer.webtransport } : {}),
    ...(answer.cert_sha256 ? { certSha256: answer.cert_sha256 } : {}),
  };
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path.split("?")[0]} answered ${response.status}`);
  return (await response.json()) as T;
}

const REQUEST_TIMEOUT_MS = 10_000;
