import { join } from "node:path";
import { Child } from "./child.ts";
import { KeepAliveClient, type Answer } from "../load/keep-alive-client.ts";

const projectFolder = join(import.meta.dirname, "..", "..");
const POLL_MS = 20;

/** What the server says of waiting replicas of one class. */
export interface Pool {
  runtime: string;
  memoryMiB: number;
  waiting: number;
  target: number;
  pssMiB: number;
}

export interface ServerOptions {
  dataFolder: string;
  environment: NodeJS.ProcessEnv;
  /** Beyond port, data folder and log format; none leaves every default on. */
  flags?: readonly string[];
  /** Of Node.js itself. */
  nodeFlags?: readonly string[];
}

export interface Deployment {
  name: string;
  runtime: string;
  handler: string;
  code: string;
  memory?: number;
  rateLimit?: { requestsPerSecond: number; burst: number };
  maxConcurrency?: number;
}

/** The real server by its main.ts, in a process of its own. */
export class BenchServer {
  readonly child: Child;
  readonly port: number;
  readonly client: KeepAliveClient;

  constructor(child: Child, port: number) {
    this.child = child;
    this.port = port;
    this.client = new KeepAliveClient(port);
  }

  /** Sends to the control API. @throws for any answer but a success */
  async control(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.client.send(method, path, body === undefined ? undefined : JSON.stringify(body));
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status}: ${answer.body}`);
    return answer;
  }

  /** Deploys and waits. @returns milliseconds from sending the POST until it was seen running */
  async deploy(deployment: Deployment): Promise<number> {
    const startMs = performance.now();
    await this.control("POST", "/api/v1/functions", deployment);
    for (;;) {
      const { status } = JSON.parse((await this.control("GET", `/api/v1/functions/${deployment.name}`)).body) as {
        status: { state: string; message?: string };
      };
      if (status.state === "running") return performance.now() - startMs;
      if (status.state === "failed") throw new Error(`${deployment.name} was not deployed: ${status.message}`);
      await pause(1);
    }
  }

  async remove(name: string): Promise<void> {
    await this.control("DELETE", `/api/v1/functions/${name}`);
  }

  invoke(name: string, body: string | Buffer): Promise<Answer> {
    return this.client.send("POST", `/api/v1/functions/${name}/invoke`, body);
  }

  async pools(): Promise<Pool[]> {
    const { pools } = JSON.parse((await this.control("GET", "/ready")).body) as { pools?: Pool[] };
    if (pools === undefined) throw new Error("/ready names no pools");
    return pools;
  }

  /** Resolves when each of these runtimes has a pool (Go's comes once its tools are made), and every pool has what it is to have. */
  awaitFullPools(runtimes: readonly string[] = []): Promise<Pool[]> {
    const isFull = (pools: readonly Pool[]): boolean =>
      runtimes.every((runtime) => pools.some((pool) => pool.runtime === runtime)) &&
      pools.every(({ waiting, target }) => waiting >= target);
    return this.awaitPools(isFull, "the pools were not full");
  }

  async awaitPools(isWanted: (pools: readonly Pool[]) => boolean, complaint: string): Promise<Pool[]> {
    const endMs = performance.now() + 180_000;
    for (;;) {
      const pools = await this.pools();
      if (isWanted(pools)) return pools;
      if (performance.now() > endMs) throw new Error(`${complaint} after 180 s: ${JSON.stringify(pools)}`);
      await pause(POLL_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.child.stop();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Starts a server as `npm start` does; resolves once it is ready. @throws with what it printed when it ends before */
export async function startBenchServer({ dataFolder, environment, flags = [], nodeFlags = [] }: ServerOptions): Promise<BenchServer> {
  const args = [join(projectFolder, "scripts/start.sh"), "--port", "0", "--data-dir", dataFolder, "--log-format", "json", ...flags];
  const child = new Child("sh", args, nodeFlags.length === 0 ? environment : { ...environment, NODE_OPTIONS: nodeFlags.join(" ") });
  const port = await child.awaitLine((line) => {
    if (!line.includes('"listening"')) return undefined;
    const { addresses } = JSON.parse(line) as { addresses: string[] };
    return Number(new URL(addresses[0]!).port);
  });
  return new BenchServer(child, port);
}
