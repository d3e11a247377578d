import type { Readable } from "node:stream";
import type { Clock } from "../../clock.ts";

/** What one pipe may bring in a moment, and each second for long: bytes, and so many more for each line. */
const BURST_COST = 4 * 1024 * 1024;
const COST_PER_SECOND = 4 * 1024 * 1024;
/** A line costs as much as so many bytes: it becomes an entry of the log. */
const LINE_COST = 200;
/** Of what is too much, so many bytes are thrown away before the pipe rests a moment: reading costs time, too. */
const DISCARD_BYTES = 1024 * 1024;
const REST_MS = 5;
const NEWLINE = 0x0a;

export interface ValveSink {
  chunk(chunk: Buffer): void;
  /** So many bytes were thrown away since the last chunk. */
  dropped(bytes: number): void;
}

/**
 * Reads one pipe of a replica. A function that floods it loses output and is slowed down for moments; the event loop that
 * all functions share is not its to take.
 */
export class OutputValve {
  readonly #stream: Readable;
  readonly #clock: Clock;
  readonly #sink: ValveSink;
  #tokens = BURST_COST;
  #filledAtMs: number;
  #droppedBytes = 0;
  #discarded = 0;

  constructor(stream: Readable, clock: Clock, sink: ValveSink) {
    this.#stream = stream;
    this.#clock = clock;
    this.#sink = sink;
    this.#filledAtMs = clock.monotonicMs();
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.once("end", () => this.#tellDropped());
  }

  #take(chunk: Buffer): void {
    this.#refill();
    if (this.#tokens <= 0) return this.#discard(chunk.length);
    this.#tellDropped();
    this.#tokens -= chunk.length + LINE_COST * countLines(chunk);
    this.#sink.chunk(chunk);
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(BURST_COST, this.#tokens + ((nowMs - this.#filledAtMs) / 1000) * COST_PER_SECOND);
    this.#filledAtMs = nowMs;
  }

  #discard(bytes: number): void {
    this.#droppedBytes += bytes;
    this.#discarded += bytes;
    if (this.#discarded < DISCARD_BYTES) return;
    this.#discarded = 0;
    this.#stream.pause();
    this.#clock.setTimer(REST_MS, () => this.#stream.resume());
  }

  #tellDropped(): void {
    if (this.#droppedBytes === 0) return;
    this.#sink.dropped(this.#droppedBytes);
    this.#droppedBytes = 0;
  }
}

function countLines(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}
