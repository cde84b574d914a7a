// Which servers an attempt tries, in which order: those that another one named when it went away, then the own. Pure.

import type { Endpoints } from "./transport";

/** Where the next attempts go. */
export class Route {
  #alternatives: string[] = [];

  /** A server went away and named others, as `host:port`. They are tried first, once. */
  note(alternatives: string[] | undefined): void {
    if (alternatives && alternatives.length > 0) this.#alternatives = alternatives;
  }

  /**
   * The servers of the next attempt. Of the alternatives it takes a few in random order, so that the clients of a
   * server that stops spread over the others.
   *
   * @param own what the application says
   * @param random draws a number in [0, 1)
   */
  round(own: Endpoints, random: () => number): Endpoints[] {
    const left = [...new Set(this.#alternatives)].flatMap((address) => endpointsAt(address, own) ?? []);
    this.#alternatives = [];
    const round: Endpoints[] = [];
    while (left.length > 0 && round.length < MAX_ALTERNATIVES) {
      round.push(...left.splice(Math.floor(random() * left.length), 1));
    }
    return [...round, own];
  }
}

/** The same paths on another server, whose TCP port serves TLS; undefined when the address is none. */
function endpointsAt(address: string, own: Endpoints): Endpoints | undefined {
  if (!ADDRESS.test(address)) return undefined;
  try {
    const websocket = new URL(own.websocket);
    const url = (path: string, scheme: string): string => new URL(path, `${scheme}://${address}`).href;
    return {
      ...own,
      ...(own.webtransport ? { webtransport: url(pathOf(new URL(own.webtransport)), "https") } : {}),
      websocket: url(pathOf(websocket), "wss"),
    };
  } catch {
    return undefined;
  }
}

function pathOf({ pathname, search }: URL): string {
  return pathname + search;
}

/** A name, an IPv4 or a bracketed IPv6 address, and a port: nothing that could be a path or a user. */
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/;
/** Each may cost the time that opening takes; the own address comes after them. */
const MAX_ALTERNATIVES = 3;
