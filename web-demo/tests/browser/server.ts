// The program under test: started on free ports with a folder of its own, killed and started again on the same ones.

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { BrowserContext } from "playwright-core";
import { Tokens } from "./tokens";

/** A running tidegate. `TIDEGATE_BIN` says which program; without it the tests fail. */
export class Server {
  #process: ChildProcess | undefined;
  #log = "";
  #onLog: () => void = () => {};

  private constructor(
    private readonly data: string,
    private readonly quicPort: number,
    private readonly httpPort: number,
  ) {}

  static async start(): Promise<Server> {
    const data = await mkdtemp(join(tmpdir(), "tidegate-browser-"));
    const server = new Server(data, await freePort(), await freePort());
    await server.run();
    return server;
  }

  /** The demo page. */
  get url(): string {
    return `http://localhost:${this.httpPort}/`;
  }

  /** Where QUIC and WebTransport are. */
  get quicAddress(): string {
    return `127.0.0.1:${this.quicPort}`;
  }

  /** Starts the program, with these settings besides, and waits until it says the demo's address. */
  async run(settings: Record<string, string> = {}): Promise<void> {
    const all = { "listen.quic": this.quicAddress, "listen.http": `127.0.0.1:${this.httpPort}`, "listen.admin": "127.0.0.1:0", "listen.grpc": "127.0.0.1:0", ...settings };
    const args = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const child = spawn(program(), ["serve", "--data", this.data, ...args], { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.on("data", (chunk: Buffer) => this.#keep(chunk));
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`the server ${why}:\n${this.#log}`));
      const limit = setTimeout(() => fail("did not say its address in time"), START_LIMIT_MS);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code) => fail(`ended with ${code}`));
      child.stdout.on("data", (chunk: Buffer) => {
        this.#keep(chunk);
        if (!this.#log.includes(`http://localhost:${this.httpPort}`)) return;
        clearTimeout(limit);
        resolve();
      });
    });
  }

  /** Ends the program without warning, as `kill -9` does. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    this.#log = "";
  }

  /** Asks the program to stop, as a service manager does. @returns its exit code */
  async terminate(): Promise<number | null> {
    const child = this.#process;
    if (!child) return null;
    const code = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    return code.finally(() => (this.#log = ""));
  }

  /** Waits until the running program's log has this. */
  says(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`the server did not say "${text}":\n${this.#log}`)), START_LIMIT_MS);
      this.#onLog = () => {
        if (!this.#log.includes(text)) return;
        clearTimeout(limit);
        this.#onLog = () => {};
        resolve();
      };
      this.#onLog();
    });
  }

  /** Copies the data of a server that is down. */
  async backUp(): Promise<void> {
    await cp(this.data, this.#backUp, { recursive: true });
  }

  /** Puts the copy in the place of the data, under a new epoch. @returns it */
  async restore(): Promise<string> {
    await rm(this.data, { recursive: true });
    await cp(this.#backUp, this.data, { recursive: true });
    return this.#command("store", "new-epoch");
  }

  /** Lets the pages of a context have tokens of this life in place of the demo's. */
  serveTokens(context: BrowserContext, ttl: string): Promise<Tokens> {
    return Tokens.serve(context, (user) => this.#command("token", "--user", user, "--ttl", ttl));
  }

  /** Ends the program and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    for (const folder of [this.data, this.#backUp]) await rm(folder, { recursive: true, force: true });
  }

  /** Runs another command of the program on the same data. @returns what it prints */
  async #command(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(program(), [...args, "--data", this.data], { env: environment() });
    return stdout.trim();
  }

  get #backUp(): string {
    return `${this.data}-back-up`;
  }

  #keep(chunk: Buffer): void {
    this.#log = (this.#log + chunk.toString()).slice(-LOG_CHARS);
    this.#onLog();
  }
}

function program(): string {
  const path = process.env.TIDEGATE_BIN;
  if (!path) throw new Error("TIDEGATE_BIN is not set: build the program and say where it is");
  return path;
}

/** TIDEGATE_BIN is ours and no setting of the program's, which refuses what it does not know. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, TIDEGATE_BIN: undefined };
}

/** A UDP port of this machine that never answers: one that takes everything silently, or one that is closed. */
export async function udpNowhere(kind: "silent" | "closed"): Promise<{ port: number; close(): void }> {
  const port = await freePort();
  if (kind === "closed") return { port, close: () => {} };
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
  return { port, close: () => socket.close() };
}

/**
 * A port that is free for UDP and TCP. It is drawn from below those that systems give out by themselves, so that no
 * outgoing connection takes it while the server is down.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    if ((await canListen(port)) && (await canBind(port))) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4").once("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}

const START_LIMIT_MS = 30_000;
const LOG_CHARS = 20_000;
