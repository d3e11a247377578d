import { identify, listTree, type ProcessIdentity, readPssMiB, readRssMiB } from "./process-tree.ts";

const POLL_MS = 100;
/** Every so many polls the children of every thread are looked for. */
const POLLS_PER_FULL_WALK = 10;

export interface WatchedMemory {
  readonly peakMiB: number;
  /** Whether the limit was passed and the callback told. */
  readonly exceeded: boolean;
  currentMiB(): number;
  /** The processes seen at the last poll. */
  seen(): ProcessIdentity[];
  stop(): void;
}

interface Watch {
  pid: number;
  limitMiB: number;
  onExceeded: () => void;
  seen: ProcessIdentity[];
  peakMiB: number;
  exceeded: boolean;
}

function sumMiB(pids: readonly number[], read: (pid: number) => number): number {
  return pids.reduce((sum, pid) => sum + read(pid), 0);
}

/** Bounds the memory of process trees where no cgroup does: looks every 100 ms, so it may overshoot by one poll, and sees no tmpfs. */
export class MemoryPoller {
  readonly #watches = new Set<Watch>();
  #timer: NodeJS.Timeout | undefined;
  #polls = 0;

  watch(pid: number, limitMiB: number, onExceeded: () => void): WatchedMemory {
    const watch: Watch = { pid, limitMiB, onExceeded, seen: [], peakMiB: 0, exceeded: false };
    this.#watches.add(watch);
    this.#timer ??= setInterval(() => this.#poll(), POLL_MS).unref();
    return {
      get peakMiB() {
        return watch.peakMiB;
      },
      get exceeded() {
        return watch.exceeded;
      },
      seen: () => watch.seen,
      currentMiB: () => sumMiB(listTree(pid, true), readPssMiB),
      stop: () => this.#forget(watch),
    };
  }

  #forget(watch: Watch): void {
    this.#watches.delete(watch);
    if (this.#watches.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #poll(): void {
    this.#polls += 1;
    const everyThread = this.#polls % POLLS_PER_FULL_WALK === 0;
    for (const watch of this.#watches) this.#look(watch, everyThread);
  }

  #look(watch: Watch, everyThread: boolean): void {
    const pids = listTree(watch.pid, everyThread);
    watch.seen = pids.map(identify).filter((identity) => identity !== undefined);
    const rssMiB = sumMiB(pids, readRssMiB);
    // The proportional size is dear to read and never above the resident one, so it is read only where it can matter.
    if (rssMiB <= watch.peakMiB || rssMiB <= watch.limitMiB) {
      watch.peakMiB = Math.max(watch.peakMiB, Math.min(rssMiB, watch.limitMiB));
      return;
    }
    const pssMiB = sumMiB(pids, readPssMiB);
    watch.peakMiB = Math.max(watch.peakMiB, pssMiB);
    if (pssMiB <= watch.limitMiB || watch.exceeded) return;
    watch.exceeded = true;
    watch.onExceeded();
  }
}
