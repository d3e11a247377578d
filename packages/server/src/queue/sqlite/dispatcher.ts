import type { Clock, Timer } from "../../clock.ts";
import type { QueueLog } from "../log.ts";
import type { EmbeddedConsumer } from "./consumer.ts";
import type { ClaimedMessage, ClaimResult } from "./operations.ts";

/** More at once gain nothing, and would keep the store from other work. */
const MAX_CLAIM = 100;
const CLAIM_AGAIN_MS = 1_000;
/** The wall clock may be set forward while a timer runs. */
const MAX_TIMER_MS = 30_000;

/** Where a dispatcher gets its messages, and where it brings back one that nobody has a place for. */
export interface MessageSource {
  claim(limit: number): Promise<ClaimResult>;
  release(message: ClaimedMessage): Promise<void>;
}

/** Hands the messages of one queue to its consumers in turn; asks the store only when there is a place and perhaps a message. */
export class QueueDispatcher {
  readonly #queue: string;
  readonly #source: MessageSource;
  readonly #clock: Clock;
  readonly #log: QueueLog;
  readonly #consumers: EmbeddedConsumer[] = [];
  #next = 0;
  #claiming = false;
  /** Something may have become ready since the last claim was asked for. */
  #dirty = true;
  #timer: { atMs: number; handle: Timer } | undefined;
  #pumping: Promise<void> = Promise.resolve();

  constructor(queue: string, source: MessageSource, clock: Clock, log: QueueLog) {
    this.#queue = queue;
    this.#source = source;
    this.#clock = clock;
    this.#log = log;
  }

  add(consumer: EmbeddedConsumer): void {
    this.#consumers.push(consumer);
    this.wake();
  }

  /** It gets no more messages; what a claim under way brings for it goes to the others or back. */
  remove(consumer: EmbeddedConsumer): void {
    const index = this.#consumers.indexOf(consumer);
    if (index >= 0) this.#consumers.splice(index, 1);
    if (this.#consumers.length === 0) this.#cancelTimer();
  }

  /** Resolves when no claim is under way. */
  idle(): Promise<void> {
    return this.#pumping;
  }

  /** A message may be ready. */
  wake(): void {
    this.#dirty = true;
    this.placeFreed();
  }

  /** A consumer may take one more. */
  placeFreed(): void {
    if (this.#dirty && !this.#claiming && this.#freePlaces() > 0) this.#pumping = this.#pump();
  }

  /** A message becomes ready then. */
  wakeAt(atMs: number): void {
    if (this.#consumers.length === 0 || (this.#timer !== undefined && this.#timer.atMs <= atMs)) return;
    this.#cancelTimer();
    const delayMs = Math.min(atMs - this.#clock.nowMs(), MAX_TIMER_MS);
    const fire = (): void => {
      this.#timer = undefined;
      this.wake();
    };
    this.#timer = { atMs, handle: this.#clock.setTimer(delayMs, fire) };
  }

  async #pump(): Promise<void> {
    this.#claiming = true;
    try {
      for (let places = this.#freePlaces(); this.#dirty && places > 0; places = this.#freePlaces()) await this.#claimUpTo(places);
    } catch (error) {
      this.#log.warn({ queue: this.#queue, error: (error as Error).message }, "cannot take messages from the queue, trying again");
      this.wakeAt(this.#clock.nowMs() + CLAIM_AGAIN_MS);
    } finally {
      this.#claiming = false;
    }
  }

  async #claimUpTo(places: number): Promise<void> {
    this.#dirty = false;
    const limit = Math.min(places, MAX_CLAIM);
    const { messages, nextDueAtMs } = await this.#source.claim(limit);
    if (messages.length === limit) this.#dirty = true;
    if (nextDueAtMs !== null) this.wakeAt(nextDueAtMs);
    const left = messages.filter((message) => !this.#handOver(message));
    await Promise.all(left.map((message) => this.#source.release(message)));
  }

  #freePlaces(): number {
    return this.#consumers.reduce((sum, consumer) => sum + consumer.freePlaces, 0);
  }

  /** False when those that had a place have stopped meanwhile. */
  #handOver(message: ClaimedMessage): boolean {
    const count = this.#consumers.length;
    for (let turn = 0; turn < count; turn++) {
      const consumer = this.#consumers[this.#next++ % count] as EmbeddedConsumer;
      if (consumer.freePlaces === 0) continue;
      consumer.receive(message);
      return true;
    }
    return false;
  }

  #cancelTimer(): void {
    this.#timer?.handle.cancel();
    this.#timer = undefined;
  }
}
