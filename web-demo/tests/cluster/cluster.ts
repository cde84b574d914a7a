// A cluster of scripts/cluster in a temporary folder: three gateways, two pipelines, and the real servers behind them.

import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

/** The gateways' names. */
export const GATEWAYS = ["gateway-1", "gateway-2", "gateway-3"] as const;
export type Gateway = (typeof GATEWAYS)[number];

/** A running cluster. */
export class Cluster {
  readonly #folder: string;
  readonly #demos = new Map<string, string>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Brings one up. What is up already when that fails, is taken down. */
  static async up(): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), "tidegate-demo-")));
    try {
      // As root, PostgreSQL runs under an account of its own and passes through.
      await chmod(cluster.#folder, 0o711);
      const said = await cluster.#run("up");
      for (const [, name, url] of said.matchAll(/^(gateway-\d) .* demo (\S+)/gm)) cluster.#demos.set(name ?? "", `${url}/`);
      return cluster;
    } catch (error) {
      await cluster.down();
      throw error;
    }
  }

  /** The demo page of a gateway. */
  demo(gateway: Gateway): string {
    const url = this.#demos.get(gateway);
    if (!url) throw new Error(`scripts/cluster names no demo of ${gateway}`);
    return url;
  }

  /** Ends a gateway with SIGKILL, or in order; or starts it again. Done when it is gone, or ready. */
  async tell(what: "kill" | "stop" | "start", gateway: Gateway): Promise<void> {
    await this.#run(what, gateway);
  }

  /** Ends everything and removes the folder. */
  async down(): Promise<void> {
    await this.#run("down", "--wipe");
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #run(...words: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(SCRIPT, [...words, "--dir", join(this.#folder, "cluster")], { timeout: LIMIT_MS });
    return stdout;
  }
}

const SCRIPT = resolve(import.meta.dirname, "../../../scripts/cluster");
/** Missing servers are installed within it. It ends a hang. */
const LIMIT_MS = 300_000;
