import type { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import type { Clock } from "../../clock.ts";

/** What a process that it left behind might still hold open is not waited for any longer. */
const LIMIT_MS = 1000;

/**
 * Resolves when all that an ended process wrote has been read. Its end may be told before: at the signal of one child
 * libuv looks for all, and finds those gone whose last bytes it has not polled for.
 */
export function hearLastWords(streams: readonly Readable[], clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(LIMIT_MS, resolve);
    const read = streams.map((stream) => finished(stream, { writable: false }));
    void Promise.allSettled(read).then(() => {
      timer.cancel();
      resolve();
    });
  });
}
