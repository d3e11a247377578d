import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { PeerIdentity } from "../../../packages/server/src/peers/handshake.ts";

export interface Setup {
  self: PeerIdentity;
  candidates: PeerIdentity[];
  signingKey: string;
  concurrency: number;
}

export type Order =
  | { kind: "view" | "begun" | "drain" | "release" }
  | { kind: "owner" | "queued"; uid: string }
  | { kind: "call"; uid: string; path: string };

export interface Answer {
  id: number;
  value?: unknown;
  error?: string;
}

/** What a call came to, as the process saw it that it was handed in at. */
export interface CallOutcome {
  id: string;
  status?: number;
  body: string;
  code?: string;
  details?: { reason?: string };
  startedAtMs: number;
  tookMs: number;
}

/** A gateway in a process of its own that a test can kill and stop. */
export class GatewayProcess {
  readonly id: string;
  readonly child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #orders = 0;

  constructor(setup: Setup) {
    this.id = setup.self.id;
    this.child = fork(join(import.meta.dirname, "gateway-main.ts"), [JSON.stringify(setup)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", ({ id, value, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    this.child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${this.id} has ended`));
    });
    this.#waiting.set(0, Promise.withResolvers());
  }

  async ready(): Promise<void> {
    await this.#waiting.get(0)!.promise;
  }

  order(order: Order): Promise<unknown> {
    const id = ++this.#orders;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.child.send({ id, order });
    return waiting.promise;
  }

  call(uid: string, path: string): Promise<CallOutcome> {
    return this.order({ kind: "call", uid, path }) as Promise<CallOutcome>;
  }

  async view(): Promise<string> {
    return ((await this.order({ kind: "view" })) as string[]).join();
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exited;
  }
}
