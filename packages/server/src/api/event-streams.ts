import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../clock.ts";

/** Keeps proxies from taking a quiet stream for a dead one. */
const HEARTBEAT_MS = 15_000;
/** A reader that is so far behind is cut off: what it does not take would stay in memory. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

export interface EventStreamOptions {
  requestId: string;
  /** Whether its reader may still read it; asked at each heartbeat, and when keys change. */
  isStillAllowed(): Promise<boolean>;
  /** Called once, whoever ends it. */
  onClose(): void;
}

/** One open stream of server-sent events. */
export interface EventStream {
  /** @throws Error when the reader is gone or too far behind */
  send(value: unknown): void;
  end(): void;
}

/** The open streams, so that they end when the server drains, or when their reader may no longer read. */
export class EventStreams {
  readonly #clock: Clock;
  readonly #open = new Map<EventStream, () => Promise<boolean>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Answers 200 and keeps the response open. */
  open(response: ServerResponse, { requestId, isStillAllowed, onClose }: EventStreamOptions): EventStream {
    response.writeHead(200, {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-store",
      "X-Request-Id": requestId,
      "X-Accel-Buffering": "no",
    });
    response.flushHeaders();
    const stream: EventStream = { send: (value) => send(response, value), end: () => response.end() };
    let timer: Timer;
    const beat = (): void => {
      // Ended, and the reader has not taken the rest yet.
      if (response.writableEnded) return;
      response.write(":\n\n");
      void endUnless(stream, isStillAllowed);
      timer = this.#clock.setTimer(HEARTBEAT_MS, beat);
    };
    timer = this.#clock.setTimer(HEARTBEAT_MS, beat);
    this.#open.set(stream, isStillAllowed);
    response.once("close", () => {
      timer.cancel();
      this.#open.delete(stream);
      onClose();
    });
    return stream;
  }

  /** Ends those whose reader was let in by what counts no more. */
  endForbidden(): void {
    for (const [stream, isStillAllowed] of this.#open) void endUnless(stream, isStillAllowed);
  }

  endAll(): void {
    for (const stream of this.#open.keys()) stream.end();
  }
}

async function endUnless(stream: EventStream, isStillAllowed: () => Promise<boolean>): Promise<void> {
  if (!(await isStillAllowed())) stream.end();
}

function send(response: ServerResponse, value: unknown): void {
  if (response.writableEnded || response.destroyed) throw new Error("The reader of this stream is gone");
  if (response.writableLength > MAX_UNREAD_BYTES) {
    response.destroy();
    throw new Error("The reader of this stream is too far behind");
  }
  response.write(`data: ${JSON.stringify(value)}\n\n`);
}
