/** A message as it is published. */
export interface QueueMessage {
  messageId: string;
  body: Buffer;
  contentType?: string;
  headers: Readonly<Record<string, string>>;
}

/** A message as it reaches a consumer. */
export interface Delivery extends QueueMessage {
  /** From 1; counts deliveries whose outcome was a failure or was lost with a crash of a consumer. */
  attempt: number;
  redelivered: boolean;
  /** Aborts when the consumer stops and the work should be given back. */
  signal: AbortSignal;
}

/**
 * What became of a delivery. `ack`: done. `fail`: retried after its delay, or dead after the last attempt.
 * `release`: given back at once and not counted, as when the server drains.
 */
export type DeliveryOutcome = { kind: "ack" } | { kind: "fail"; reason: string } | { kind: "release" };

/** What a queue trigger asks for. */
export interface Subscription {
  queue: string;
  /** Declared durable and direct, bound with `routingKey` (default: the queue's name), unless it exists. */
  exchange?: string;
  routingKey?: string;
  /** Deliveries in flight at once. */
  concurrency: number;
  maxAttempts: number;
  handle(delivery: Delivery): Promise<DeliveryOutcome>;
}

export interface Consumer {
  /** Takes no more deliveries, waits for those in flight; what is left at the deadline is released uncounted. */
  stop(options: { deadlineMs: number }): Promise<void>;
}

export interface QueueStats {
  ready: number;
  /** In flight at our consumers. */
  unacked: number;
  dead: number;
}

/** The broker: embedded (SQLite) or RabbitMQ, with the same semantics: at least once, retries, dead letters. */
export interface QueueDriver {
  readonly kind: "embedded" | "rabbitmq";
  /** False while the broker is away; the driver reconnects by itself. */
  readonly connected: boolean;
  /** Makes the queue exist, so that it can be published to and counted before a consumer is there. */
  declare(queue: Pick<Subscription, "queue" | "exchange" | "routingKey">): Promise<void>;
  /**
   * Resolves once the message is durable in the queue.
   * @throws KsError `QUEUE_NOT_FOUND` for a queue that nobody declared, `STORE_UNAVAILABLE` while the broker is away or its disk is full.
   */
  publish(queue: string, message: QueueMessage): Promise<void>;
  /** Undefined for a queue that nobody declared. */
  stats(queue: string): Promise<QueueStats | undefined>;
  /** Resolves at once; consuming begins when the broker is there, and again after it was away. */
  consume(subscription: Subscription): Consumer;
  stop(options: { deadlineMs: number }): Promise<void>;
}
