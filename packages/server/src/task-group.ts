/** The part of a logger that background work needs. */
export interface TaskLog {
  error(fields: object, message: string): void;
}

/** Owns work that nobody awaits: a failure of it is logged and counted, never lost and never fatal. */
export class TaskGroup {
  readonly #log: TaskLog;
  readonly #running = new Set<Promise<void>>();
  readonly #failures = new Map<string, number>();

  constructor(log: TaskLog) {
    this.#log = log;
  }

  /** Starts the work at once; `name` stands in the log and counts its failures. */
  run(name: string, work: () => unknown): void {
    const task = this.#guard(name, work).finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  /** How often work of each name has failed. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Resolves when nothing runs any more, work that was started meanwhile included. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #guard(name: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1);
      this.#log.error({ task: name, err: error }, "background work failed");
    }
  }
}
