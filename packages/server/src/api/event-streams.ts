import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../clock.ts";

/** Keeps proxies from taking a quiet stream for a dead one. */
const HEARTBEAT_MS = 15_000;
/** A reader that is so far behind is cut off: what it does not take would stay in memory. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/** One open stream of server-sent events. */
export interface EventStream {
  /** @throws Error when the reader is gone or too far behind */
  send(value: unknown): void;
  end(): void;
}

/** The open streams, so that they can be ended when the server drains. */
export class EventStreams {
  readonly #clock: Clock;
  readonly #open = new Set<EventStream>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Answers 200 and keeps the response open; `onClose` is called once, whoever ends it. */
  open(response: ServerResponse, requestId: string, onClose: () => void): EventStream {
    response.writeHead(200, {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-store",
      "X-Request-Id": requestId,
      "X-Accel-Buffering": "no",
    });
    response.flushHeaders();
    let timer: Timer;
    const beat = (): void => {
      response.write(":\n\n");
      timer = this.#clock.setTimer(HEARTBEAT_MS, beat);
    };
    timer = this.#clock.setTimer(HEARTBEAT_MS, beat);
    const stream: EventStream = { send: (value) => send(response, value), end: () => response.end() };
    this.#open.add(stream);
    response.once("close", () => {
      timer.cancel();
      this.#open.delete(stream);
      onClose();
    });
    return stream;
  }

  endAll(): void {
    for (const stream of this.#open) stream.end();
  }
}

function send(response: ServerResponse, value: unknown): void {
  if (response.writableEnded || response.destroyed) throw new Error("The reader of this stream is gone");
  if (response.writableLength > MAX_UNREAD_BYTES) {
    response.destroy();
    throw new Error("The reader of this stream is too far behind");
  }
  response.write(`data: ${JSON.stringify(value)}\n\n`);
}
