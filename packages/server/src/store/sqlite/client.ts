import { KsError } from "@kube-serverless/contracts/error";
import { Worker } from "node:worker_threads";
import { type FromWorker, type Reply, type Request, type ToWorker, unpackError } from "./protocol.ts";
import type { WorkerOptions } from "./worker.ts";

/** What the main thread sees of the SQLite files. */
export interface SqliteClient {
  /**
   * Runs `module.operation` in the worker; resolves after the COMMIT that holds it.
   * @throws KsError `STORE_UNAVAILABLE` while the disk is full or after the store broke or stopped; whatever the operation threw.
   */
  run<Result>(operation: string, args?: unknown): Promise<Result>;
  /** False while the disk is full; recovers by itself. */
  readonly writable: boolean;
  /** Finishes what was asked for, folds the log into the file and closes it. */
  stop(): Promise<void>;
}

export interface SqliteClientOptions {
  /** An existing folder that this process alone uses: see `openDataFolder`. */
  folder: string;
  /** Files that export `storeModule`. */
  modules: readonly URL[];
  /** Called once when the files cannot be trusted any more (a failed fsync, damage): the process must end, acknowledging nothing. */
  onFatal: (error: Error) => void;
  /** Space set aside so that a full disk can be worked off; more than the log takes (4 MiB and the largest write). @default 16 MiB */
  ballastBytes?: number;
  /** How often a full disk is looked at again. @default 500 */
  probeIntervalMs?: number;
  /** For kill tests: see `armFailpoint`. */
  failpoint?: string | undefined;
}

/** Opens or creates the files in a worker thread, bringing their schemas up to date. */
export async function createSqliteClient(options: SqliteClientOptions): Promise<SqliteClient> {
  const client = new WorkerClient(options);
  await client.ready;
  return client;
}

interface Pending {
  resolve(value: never): void;
  reject(error: Error): void;
}

class WorkerClient implements SqliteClient {
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #onFatal: (error: Error) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  #isOpen = false;
  #failed = false;
  #closed: Error | undefined;
  #writable = true;
  #lastId = 0;
  #outbox: Request[] = [];

  constructor(options: SqliteClientOptions) {
    this.#onFatal = options.onFatal;
    this.ready = this.#opened.promise;
    const workerData: WorkerOptions = {
      folder: options.folder,
      modules: options.modules.map(String),
      ballastBytes: options.ballastBytes ?? 16 * 1024 * 1024,
      probeIntervalMs: options.probeIntervalMs ?? 500,
      failpoint: options.failpoint,
    };
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData, name: "store" });
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
    this.#worker.on("error", (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on("exit", () => this.#onExit());
  }

  get writable(): boolean {
    return this.#writable && this.#closed === undefined;
  }

  run<Result>(operation: string, args?: unknown): Promise<Result> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = ++this.#lastId;
    // What one turn of the event loop asks for crosses in one message.
    if (this.#outbox.length === 0) queueMicrotask(() => this.#flush());
    this.#outbox.push({ id, operation, args });
    return new Promise<Result>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  async stop(): Promise<void> {
    if (this.#closed === undefined) {
      this.#flush();
      this.#closed = new KsError("STORE_UNAVAILABLE", { message: "The store is closed, as the server is stopping" });
      this.#post({ kind: "stop" });
    }
    await this.#exited.promise;
  }

  #flush(): void {
    if (this.#outbox.length === 0) return;
    const requests = this.#outbox;
    this.#outbox = [];
    try {
      this.#post({ kind: "requests", requests });
    } catch (error) {
      // Only arguments that cannot be cloned come here, a defect of a caller.
      for (const { id } of requests) this.#take(id)?.reject(error as Error);
    }
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromWorker): void {
    if (message.kind === "replies") this.#settle(message.replies);
    else if (message.kind === "writable") this.#writable = message.writable;
    else if (message.kind === "failed") this.#fail(unpackError(message.error));
    else if (message.kind === "ready") {
      this.#isOpen = true;
      this.#opened.resolve();
    }
  }

  #settle(replies: readonly Reply[]): void {
    for (const reply of replies) {
      const pending = this.#take(reply.id);
      if ("error" in reply) pending?.reject(unpackError(reply.error));
      else pending?.resolve(reply.value as never);
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #fail(error: Error): void {
    if (!this.#isOpen) return this.#opened.reject(error);
    if (this.#failed) return;
    this.#failed = true;
    this.#closed = error;
    // First, so that a process that ends here has told its callers nothing.
    this.#onFatal(error);
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #onExit(): void {
    if (this.#closed === undefined)
      this.#fail(new KsError("STORE_UNAVAILABLE", { message: "The store's thread ended: start the server again" }));
    this.#exited.resolve();
  }
}
