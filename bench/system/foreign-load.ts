import { readFileSync } from "node:fs";
import { readProcesses, TICKS_PER_SECOND, treeSeconds } from "./process-times.ts";

/** A moment of the machine's CPU time; seconds, all cores together. */
interface CpuMoment {
  atMs: number;
  /** Of all processes, and stolen by other machines on the same hardware. */
  busy: number;
  /** Of this process and all below it. */
  own: number;
}

/**
 * The first line of /proc/stat. Interrupts are left out: most kernels count them in the running process, too, and those
 * of the loopback are our own.
 */
export function parseBusySeconds(text: string): number {
  const [user = 0, nice = 0, system = 0, _idle, _ioWait, _irq, _softIrq, steal = 0] = text
    .split("\n")[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + steal) / TICKS_PER_SECOND;
}

function readMoment(): CpuMoment {
  const busy = parseBusySeconds(readFileSync("/proc/stat", "utf8"));
  const { root, below } = treeSeconds(process.pid, readProcesses());
  return { atMs: performance.now(), busy, own: root + below };
}

/** Measures from now on what others use; the returned function ends it with a part of one core, 0.15 for 15 %. */
export function watchForeignLoad(): () => number {
  const start = readMoment();
  return () => {
    const end = readMoment();
    const seconds = (end.atMs - start.atMs) / 1000;
    return Math.max(0, (end.busy - start.busy - (end.own - start.own)) / seconds);
  };
}

export interface QuietOptions {
  /** Part of a core that others may use. */
  limit: number;
  /** How long to wait for it. */
  waitMs: number;
  /** Measure anyway after that, and say so. */
  allowNoise: boolean;
  onWaiting(load: number): void;
}

/** The machine did not become quiet enough to measure anything. */
export class NoisyMachineError extends Error {
  override readonly name = "NoisyMachineError";
}

const WINDOW_MS = 1000;

/** Waits for a machine that others leave alone, and tells whether they did during a measurement. */
export class QuietKeeper {
  readonly #options: QuietOptions;

  constructor(options: QuietOptions) {
    this.#options = options;
  }

  get limit(): number {
    return this.#options.limit;
  }

  /** Resolves when others used less than the limit for a second. @throws NoisyMachineError */
  async waitForQuiet(): Promise<void> {
    const endMs = performance.now() + this.#options.waitMs;
    for (;;) {
      const end = watchForeignLoad();
      await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
      const load = end();
      if (load < this.#options.limit) return;
      if (performance.now() > endMs) return this.#giveUp(load);
      this.#options.onWaiting(load);
    }
  }

  /** True when a measurement with so much foreign load counts. */
  accepts(load: number): boolean {
    return this.#options.allowNoise || load < this.#options.limit;
  }

  #giveUp(load: number): void {
    if (this.#options.allowNoise) return;
    const percent = (part: number): string => `${Math.round(part * 100)} %`;
    throw new NoisyMachineError(
      `other processes use ${percent(load)} of a core, above the limit of ${percent(this.#options.limit)}, since ` +
        `${Math.round(this.#options.waitMs / 1000)} s: stop them, wait longer (--quiet-wait), or measure anyway (--allow-noise)`,
    );
  }
}
