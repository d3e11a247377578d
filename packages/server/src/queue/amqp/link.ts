import type { Duplex } from "node:stream";
import { type ChannelModel, connect, type RecoveringChannelModel } from "amqplib";
import type { Clock } from "../../clock.ts";
import { withLimit } from "../delivery-runs.ts";
import type { QueueLog } from "../log.ts";

/** RabbitMQ and we miss two beats before we call a peer dead: 20 to 30 s. */
const HEARTBEAT_S = 10;
const HANDSHAKE_LIMIT_MS = 10_000;
const CLOSE_LIMIT_MS = 1_000;

export interface LinkOptions {
  url: string;
  /** Shown in RabbitMQ's list of connections. */
  name: string;
  clock: Clock;
  log: QueueLog;
}

/** One connection to RabbitMQ that comes back by itself. */
export class AmqpLink {
  readonly #clock: Clock;
  readonly #log: QueueLog;
  readonly #name: string;
  readonly #recovering: Promise<RecoveringChannelModel>;
  readonly #upListeners = new Set<() => void>();
  #model: ChannelModel | undefined;
  #blockedBy: string | undefined;
  #lastError = "not connected yet";

  constructor(options: LinkOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#name = options.name;
    const socket = {
      noDelay: true,
      keepAlive: true,
      timeout: HANDSHAKE_LIMIT_MS,
      clientProperties: { connection_name: options.name },
      recovery: { initialDelay: 100, maxDelay: 5_000, waitForConnect: false },
    };
    this.#recovering = connect(withHeartbeat(options.url), socket).then((recovering) => this.#listen(recovering));
  }

  /** Undefined while the broker is away. */
  get model(): ChannelModel | undefined {
    return this.#model;
  }

  /** Why RabbitMQ takes no messages (its disk or memory is full), undefined when it does. */
  get blockedBy(): string | undefined {
    return this.#blockedBy;
  }

  /** What ended the last connection or attempt. */
  get lastError(): string {
    return this.#lastError;
  }

  /** Called at each connection made from now on. */
  onUp(listener: () => void): () => void {
    this.#upListeners.add(listener);
    return () => void this.#upListeners.delete(listener);
  }

  /** The connection, waited for at most `limitMs`. */
  async waitForModel(limitMs: number): Promise<ChannelModel | undefined> {
    if (this.#model !== undefined) return this.#model;
    const { promise, resolve } = Promise.withResolvers<void>();
    const forget = this.onUp(resolve);
    await withLimit(this.#clock, limitMs, promise, () => undefined);
    forget();
    return this.#model;
  }

  /** Ends the connection and does not come back; waits a moment for the broker to agree. */
  async close(): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    const recovering = await this.#recovering;
    await withLimit(this.#clock, CLOSE_LIMIT_MS, recovering.close(), () => undefined);
    destroySocket(model);
  }

  #listen(recovering: RecoveringChannelModel): RecoveringChannelModel {
    recovering.on("connect", (model: ChannelModel) => {
      this.#model = model;
      this.#blockedBy = undefined;
      this.#log.info({ connection: this.#name }, "connected to RabbitMQ");
      for (const listener of [...this.#upListeners]) listener();
    });
    recovering.on("disconnect", (error: Error) => {
      const lost = this.#model;
      this.#model = undefined;
      this.#lastError = error.message;
      destroySocket(lost);
      this.#log.warn({ connection: this.#name, error: error.message }, "lost the connection to RabbitMQ, reconnecting");
    });
    recovering.on("connect-failed", (error: Error) => {
      // Each attempt fails alike while the broker is away: one line says it.
      if (this.#lastError !== error.message) {
        this.#log.warn({ connection: this.#name, error: error.message }, "cannot connect to RabbitMQ, retrying");
      }
      this.#lastError = error.message;
    });
    recovering.on("blocked", (reason: string) => {
      this.#blockedBy = reason;
      this.#log.warn({ connection: this.#name, reason }, "RabbitMQ takes no messages");
    });
    recovering.on("unblocked", () => {
      this.#blockedBy = undefined;
    });
    // Followed by `disconnect`, which tells it; without a listener it would end the process.
    recovering.on("error", () => {});
    return recovering;
  }
}

function withHeartbeat(url: string): string {
  const parsed = new URL(url);
  if (!parsed.searchParams.has("heartbeat")) parsed.searchParams.set("heartbeat", String(HEARTBEAT_S));
  return parsed.href;
}

/** amqplib only ends the socket, and an end towards a peer that is gone waits for the kernel's time-out: a quarter of an hour. */
function destroySocket(model: ChannelModel | undefined): void {
  const connection = model?.connection as { stream?: Duplex } | undefined;
  connection?.stream?.destroy();
}
