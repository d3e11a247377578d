import type { Clock, Timer } from "../../clock.ts";
import type { Segments } from "../../logs/segments.ts";
import type { TaskGroup } from "../../task-group.ts";

export interface AuditFileOptions {
  segments: Pick<Segments, "open" | "append">;
  clock: Clock;
  tasks: TaskGroup;
  /** Lines that may wait for the disk. @default 10000 */
  maxWaiting?: number;
}

const FLUSH_MS = 100;
const MAX_RETRY_MS = 30_000;
/** Lines written at once. */
const BATCH = 1000;

/** Lines on their way to a file: adding one never waits. While the disk fails they wait, within a bound; what finds no room is counted. */
export class AuditFile {
  readonly #options: AuditFileOptions;
  readonly #maxWaiting: number;
  #waiting: string[] = [];
  #timer: Timer | undefined;
  #isOpen = false;
  #failures = 0;
  #dropped = 0;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: AuditFileOptions) {
    this.#options = options;
    this.#maxWaiting = options.maxWaiting ?? 10_000;
  }

  /** Whether the disk has taken what it was given last. */
  get isHealthy(): boolean {
    return this.#failures === 0;
  }

  /** Lines that were lost since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False when there is no room. */
  add(line: string): boolean {
    if (this.#waiting.length >= this.#maxWaiting) {
      this.#dropped++;
      return false;
    }
    this.#waiting.push(line);
    this.#arm();
    return true;
  }

  /** Writes what waits. @throws what the file system throws; nothing is lost then, it is tried again. */
  flush(): Promise<void> {
    const turn = this.#flushing.then(() => this.#write());
    this.#flushing = turn.catch(() => {});
    return turn;
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.flush();
  }

  #arm(): void {
    const delayMs = Math.min(FLUSH_MS * 2 ** this.#failures, MAX_RETRY_MS);
    this.#timer ??= this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#options.tasks.run("audit log", () => this.#flushAndGoOn());
    });
  }

  async #flushAndGoOn(): Promise<void> {
    try {
      await this.flush();
    } finally {
      if (this.#waiting.length > 0) this.#arm();
    }
  }

  async #write(): Promise<void> {
    const { segments } = this.#options;
    try {
      if (!this.#isOpen) await segments.open();
      this.#isOpen = true;
      while (this.#waiting.length > 0) {
        const batch = this.#waiting.slice(0, BATCH);
        await segments.append(Buffer.from(batch.join("")), () => {
          this.#waiting = this.#waiting.slice(batch.length);
        });
      }
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      throw error;
    }
  }
}
