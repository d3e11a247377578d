import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import type { Duplex, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Cgroup } from "./cgroup.ts";
import { ARGUMENTS_DESCRIPTOR, INFO_DESCRIPTOR } from "./bubblewrap-command.ts";
import type { MemoryPoller, WatchedMemory } from "./memory-poller.ts";
import type { SandboxedProcess, SandboxExit } from "./port.ts";
import { identify, isSameAlive, killQuietly, type ProcessIdentity } from "./process-tree.ts";
import { type Child, spawnChild } from "./spawn-child.ts";

export interface BubblewrapProcessOptions {
  id: string;
  /** From the shell to the command. */
  command: readonly string[];
  arguments: readonly string[];
  seccompFile: string;
  input: Buffer | undefined;
  memoryMiB: number;
  cgroup: Cgroup | undefined;
  poller: MemoryPoller;
  /** Gives back what the process had, once all of it is gone. */
  release: () => Promise<void>;
}

/** How long bubblewrap may take from its start to the namespace's first process. */
const SETUP_TIMEOUT_MS = 5_000;
const GONE_TIMEOUT_MS = 10_000;

/** One sandbox: bubblewrap outside, the first process of its pid namespace, with which all others end, and the command. */
export class BubblewrapProcess implements SandboxedProcess {
  readonly id: string;
  readonly pid: number;
  readonly frames: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<SandboxExit>;
  readonly #options: BubblewrapProcessOptions;
  readonly #child: Child;
  readonly #memory: WatchedMemory | undefined;
  /** Undefined until bubblewrap has told it. */
  #init: ProcessIdentity | undefined;
  #isKilled = false;
  #hasEnded = false;

  static async start(options: BubblewrapProcessOptions): Promise<BubblewrapProcess> {
    // Each needs an open file of its own, as the position in it is shared with the child.
    const seccomp = openSync(options.seccompFile, "r");
    try {
      const child = await spawnChild({
        command: options.command,
        environment: {},
        input: options.input,
        descriptors: [seccomp, "pipe", "pipe"],
      });
      return new BubblewrapProcess(options, child);
    } finally {
      closeSync(seccomp);
    }
  }

  private constructor(options: BubblewrapProcessOptions, child: Child) {
    this.#options = options;
    this.#child = child;
    this.id = options.id;
    this.pid = child.pid;
    this.frames = child.frames;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    (child.pipe(ARGUMENTS_DESCRIPTOR) as Duplex).end(options.arguments.map((argument) => `${argument}\0`).join(""));
    this.#memory = options.cgroup === undefined ? options.poller.watch(child.pid, options.memoryMiB, () => this.kill()) : undefined;
    this.#readInfo(child.pipe(INFO_DESCRIPTOR));
    this.exited = this.#waitUntilGone();
  }

  async memoryMiB(): Promise<number> {
    return this.#options.cgroup?.currentMiB() ?? this.#memory?.currentMiB() ?? 0;
  }

  kill(): void {
    if (this.#isKilled || this.#hasEnded) return;
    this.#isKilled = true;
    this.#options.cgroup?.kill();
    if (this.#init !== undefined) this.#killInit();
    // Between its clone and the child's wish to die with it, killing bubblewrap alone might leave the child behind.
    else setTimeout(() => this.#hasEnded || killQuietly(this.pid), this.#options.cgroup === undefined ? SETUP_TIMEOUT_MS : 0).unref();
  }

  /** Bubblewrap then ends, too, but only when everything in the namespace is gone. */
  #killInit(): void {
    if (this.#init !== undefined && isSameAlive(this.#init)) killQuietly(this.#init.pid);
  }

  #readInfo(info: Readable): void {
    let text = "";
    info.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      const pid = /"child-pid":\s*(\d+)/.exec(text)?.[1];
      if (pid === undefined || this.#init !== undefined) return;
      this.#init = identify(Number(pid));
      if (this.#isKilled) this.#killInit();
    });
  }

  async #waitUntilGone(): Promise<SandboxExit> {
    const { code, signal } = await this.#child.ended;
    this.#hasEnded = true;
    this.#memory?.stop();
    await this.#waitForInit();
    const exit: SandboxExit = signal === null ? readExitCode(code) : { code: null, signal };
    const outOfMemory = this.#readOutOfMemory(exit);
    if (outOfMemory !== undefined) exit.outOfMemory = outOfMemory;
    exit.peakMiB = this.#peakMiB();
    await this.#options.release();
    return exit;
  }

  async #waitForInit(): Promise<void> {
    const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
    for (
      let waitMs = 1;
      this.#init !== undefined && isSameAlive(this.#init) && performance.now() < deadlineMs;
      waitMs = Math.min(waitMs * 2, 20)
    ) {
      this.#killInit();
      await delay(waitMs);
    }
  }

  #readOutOfMemory(exit: SandboxExit): SandboxExit["outOfMemory"] {
    const { cgroup, memoryMiB } = this.#options;
    const isHit = cgroup === undefined ? this.#memory?.exceeded === true : cgroup.oomKills() > 0 && exit.signal === "SIGKILL";
    if (!isHit) return undefined;
    return { limitMiB: memoryMiB, peakMiB: this.#peakMiB() };
  }

  #peakMiB(): number {
    return Math.ceil(this.#options.cgroup?.peakMiB() ?? this.#memory?.peakMiB ?? this.#options.memoryMiB);
  }
}

/** Bubblewrap tells a signal as 128 and its number, as shells do. */
function readExitCode(code: number | null): SandboxExit {
  const signal = Object.entries(constants.signals).find(([, number]) => code === 128 + number)?.[0];
  return signal === undefined ? { code, signal: null } : { code: null, signal };
}
