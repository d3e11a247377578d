import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPublicKeySet, createSigningKey, ProofSigner } from "../../packages/server/src/protocol/proof.ts";
import { waitFor } from "./server.ts";

/** The key of a cluster's gateways, made once a test file. */
const signingKey = await createSigningKey();
export const podSigner = new ProofSigner(signingKey);

let lastAddress = 1;

/** A loopback address that nothing else of this test file uses. */
export function nextPodIp(): string {
  lastAddress += 1;
  return `127.${20 + (process.pid % 200)}.${lastAddress >> 8}.${lastAddress & 255}`;
}

export interface ShimPodOptions {
  command: readonly string[];
  ip?: string;
  uid?: string;
  environment?: Readonly<Record<string, string>>;
  /** Leaves something where the container's scratch folder is. */
  usedBefore?: boolean;
}

/** A real shim as a process of its own, where a pod's container would be: on port 7070 of an address of loopback. */
export class ShimPod {
  readonly uid: string;
  readonly ip: string;
  readonly port = 7070;
  readonly child: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #folder = mkdtempSync(join(tmpdir(), "ks-pod-"));
  /** Everything that it wrote to descriptors 1 and 2. */
  output = "";

  constructor({ command, ip = nextPodIp(), uid = randomUUID(), environment = {}, usedBefore = false }: ShimPodOptions) {
    this.ip = ip;
    this.uid = uid;
    const scratch = join(this.#folder, "scratch");
    const keys = join(this.#folder, "keys.json");
    mkdirSync(scratch);
    if (usedBefore) writeFileSync(join(scratch, "left"), "");
    writeFileSync(keys, JSON.stringify(buildPublicKeySet([signingKey])));
    this.child = spawn(command[0] ?? "", command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: "/usr/bin:/bin",
        HOME: "/tmp",
        LANG: "C.UTF-8",
        TZ: "UTC",
        KS_LISTEN: `${ip}:7070`,
        KS_POD_UID: uid,
        KS_POD_IP: ip,
        KS_GATEWAY_KEYS: keys,
        KS_SCRATCH: scratch,
        ...environment,
      },
    });
    for (const pipe of [this.child.stdout, this.child.stderr]) pipe?.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
    this.exited = new Promise((resolve) =>
      this.child.once("close", (code, signal) => {
        rmSync(this.#folder, { recursive: true, force: true });
        resolve({ code, signal });
      }),
    );
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Resolves when it can be dialled. */
  async listening(): Promise<this> {
    await waitFor("the pod to listen", async () => {
      if (this.hasEnded) throw new Error(`the pod ended: ${this.output}`);
      const socket = createConnection({ host: this.ip, port: this.port });
      return new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      }).finally(() => socket.destroy());
    });
    return this;
  }

  /** A peer that has proven nothing. */
  connect(): Socket {
    const socket = createConnection({ host: this.ip, port: this.port });
    socket.on("error", () => undefined);
    return socket;
  }

  terminate(): void {
    this.child.kill("SIGTERM");
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}
