// The program under test: started on free ports with a folder of its own, killed and started again on the same ones.

import { spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A running tidegate. `TIDEGATE_BIN` says which program; without it the tests fail. */
export class Server {
  #process: ChildProcess | undefined;
  #log = "";

  private constructor(
    private readonly data: string,
    private readonly quicPort: number,
    private readonly httpPort: number,
  ) {}

  static async start(): Promise<Server> {
    const data = await mkdtemp(join(tmpdir(), "tidegate-browser-"));
    const server = new Server(data, await freePort("udp"), await freePort("tcp"));
    await server.run();
    return server;
  }

  /** The demo page. */
  get url(): string {
    return `http://localhost:${this.httpPort}/`;
  }

  /** Starts the program, and waits until it says the demo's address. */
  async run(): Promise<void> {
    const program = process.env.TIDEGATE_BIN;
    if (!program) throw new Error("TIDEGATE_BIN is not set: build the program and say where it is");
    const args = ["serve", "--data", this.data, "--set", `listen.quic=127.0.0.1:${this.quicPort}`];
    args.push("--set", `listen.http=127.0.0.1:${this.httpPort}`, "--set", "listen.admin=127.0.0.1:0");
    // TIDEGATE_BIN is ours and no setting of the program's, which refuses what it does not know.
    const env = { ...process.env, TIDEGATE_BIN: undefined };
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
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

  /** Ends the program and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    await rm(this.data, { recursive: true, force: true });
  }

  #keep(chunk: Buffer): void {
    this.#log = (this.#log + chunk.toString()).slice(-LOG_CHARS);
  }
}

/** A UDP port of this machine that never answers: one that takes everything silently, or one that is closed. */
export async function udpNowhere(isSilent: boolean): Promise<{ port: number; close(): void }> {
  const port = await freePort("udp");
  if (!isSilent) return { port, close: () => {} };
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
  return { port, close: () => socket.close() };
}

function freePort(kind: "udp" | "tcp"): Promise<number> {
  return new Promise((resolve, reject) => {
    if (kind === "udp") {
      const socket = createSocket("udp4").on("error", reject);
      socket.bind(0, "127.0.0.1", () => {
        const { port } = socket.address();
        socket.close(() => resolve(port));
      });
    } else {
      const server = createServer().on("error", reject);
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
      });
    }
  });
}

const START_LIMIT_MS = 30_000;
const LOG_CHARS = 20_000;
