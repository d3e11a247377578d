import type { Clock } from "../clock.ts";
import type { RunningCall } from "./running-call.ts";

/** What comes so soon after a call, while no other runs, is the call's. */
const LATE_MS = 100;

/**
 * Whose is what a process writes to descriptors 1 and 2, which name no call? What a call wrote before its answer is in the
 * pipe before the answer is on the connection, so both are read in the same turn of the event loop, in either order.
 */
export class Printers {
  /** Something was read from the descriptors; before that nothing is noted but the last call and its end. */
  #active = false;
  #endedThisTurn: (string | undefined)[] = [];
  #last: string | undefined;
  #lastAtMs = Number.NEGATIVE_INFINITY;

  /** hot */
  noteEnd(requestId: string | undefined, clock: Clock): void {
    const nowMs = clock.monotonicMs();
    // What comes behind both may be of either.
    this.#last = this.#active && nowMs - this.#lastAtMs <= LATE_MS ? undefined : requestId;
    this.#lastAtMs = nowMs;
    if (!this.#active) return;
    if (this.#endedThisTurn.push(requestId) === 1) setImmediate(() => (this.#endedThisTurn = []));
  }

  /** @param flushes of the connection's writer, which tells what has left */
  find(calls: Iterable<RunningCall>, flushes: number, nowMs: number): string | undefined {
    this.#active = true;
    if (this.#endedThisTurn.length > 1) return undefined;
    let sole = this.#endedThisTurn[0];
    for (const { started, sentAtFlush, requestId } of calls) {
      // It has not reached its handler yet.
      if (!started || sentAtFlush === flushes) continue;
      if (sole !== undefined) return undefined;
      sole = requestId;
    }
    return sole ?? (nowMs - this.#lastAtMs <= LATE_MS ? this.#last : undefined);
  }
}
