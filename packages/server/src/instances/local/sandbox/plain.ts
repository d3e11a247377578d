import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LiveProcesses } from "./live-processes.ts";
import { MemoryPoller, type WatchedMemory } from "./memory-poller.ts";
import type { OwnerRecord } from "./owner.ts";
import type { Sandbox, SandboxedProcess, SandboxExit, SandboxSpec, SandboxStrength } from "./port.ts";
import { isSameAlive, killQuietly, listGroup, listTree, type ProcessIdentity } from "./process-tree.ts";
import { type Child, spawnChild } from "./spawn-child.ts";

/** How long the remains of a killed group are waited for; only a process stuck in the kernel takes longer. */
const GONE_TIMEOUT_MS = 5_000;

/** Replicas as plain process groups: a clean environment and a memory limit, but the files and the network of the server. */
export class PlainSandbox implements Sandbox {
  readonly strength: SandboxStrength = {
    driver: "plain",
    network: "host",
    memory: "polled",
    degraded: ["sandbox-plain", "network-host", "memory-polled"],
  };
  readonly sharedFolder: string;
  readonly #owner: OwnerRecord;
  readonly #poller = new MemoryPoller();
  readonly #processes = new LiveProcesses();

  constructor(owner: OwnerRecord) {
    this.#owner = owner;
    this.sharedFolder = join(owner.folder, "shared");
    mkdirSync(this.sharedFolder, { recursive: true });
  }

  async stage(source: string): Promise<{ source: string; target: string }> {
    return { source, target: source };
  }

  spawn(spec: SandboxSpec): Promise<SandboxedProcess> {
    return this.#processes.start(() => this.#spawn(spec));
  }

  async #spawn(spec: SandboxSpec): Promise<SandboxedProcess> {
    const child = await spawnChild({ command: spec.command, environment: spec.environment, input: spec.input });
    const forget = this.#owner.noteGroup(child.pid);
    const kill = () => killGroup(child.pid, memory.seen());
    const memory = this.#poller.watch(child.pid, spec.memoryMiB, kill);
    return {
      id: spec.id,
      pid: child.pid,
      frames: child.frames,
      stdout: child.stdout,
      stderr: child.stderr,
      exited: this.#waitUntilGone(child, memory, spec.memoryMiB).finally(forget),
      memoryMiB: async () => memory.currentMiB(),
      kill,
    };
  }

  async stop(): Promise<void> {
    await this.#processes.endAll();
    this.#owner.remove();
  }

  async #waitUntilGone(child: Child, memory: WatchedMemory, limitMiB: number): Promise<SandboxExit> {
    const { code, signal } = await child.ended;
    memory.stop();
    const known = memory.seen();
    const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
    killGroup(child.pid, known);
    while ((listGroup(child.pid).length > 0 || known.some(isSameAlive)) && performance.now() < deadlineMs) {
      await delay(5);
      killGroup(child.pid, known);
    }
    const exit: SandboxExit = { code, signal };
    exit.peakMiB = Math.ceil(memory.peakMiB);
    if (memory.exceeded) exit.outOfMemory = { limitMiB, peakMiB: exit.peakMiB };
    return exit;
  }
}

/** Ends the group, and what left it but can still be found below it. */
function killGroup(group: number, seen: readonly ProcessIdentity[]): void {
  const below = listTree(group, true);
  killQuietly(-group);
  for (const pid of below) killQuietly(pid);
  for (const identity of seen) if (isSameAlive(identity)) killQuietly(identity.pid);
}
