import type { Logger } from "pino";
import type { Clock } from "../clock.ts";

export interface DrainLogOptions {
  clock: Clock;
  log: Logger;
  /** `--shutdown-timeout` */
  timeoutMs: number;
}

/** Tells who stops the server what it waits for, and when it has stopped. */
export class DrainLog {
  readonly #options: DrainLogOptions;
  readonly #startedAtMs: number;
  #cut = 0;

  constructor(options: DrainLogOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.monotonicMs();
  }

  begin(calls: number): void {
    const { clock, log, timeoutMs } = this.#options;
    const until = new Date(clock.nowMs() + timeoutMs).toISOString();
    log.info({ calls, until }, calls === 0 ? "stopping: no calls to wait for" : describeWait(calls, timeoutMs));
  }

  /** The time is over: so many calls are ended before their answer. */
  cut(calls: number): void {
    this.#cut = calls;
    if (calls > 0) this.#options.log.warn({ calls }, `--shutdown-timeout is over: ${countCalls(calls)} cut`);
  }

  end(): void {
    const { clock, log } = this.#options;
    log.info({ tookMs: Math.round(clock.monotonicMs() - this.#startedAtMs), cutCalls: this.#cut }, "stopped");
  }
}

function describeWait(calls: number, timeoutMs: number): string {
  return (
    `draining: waiting for ${countCalls(calls)}, ${timeoutMs / 1000} s at the most (--shutdown-timeout); ` +
    "a second signal (Ctrl-C) more than 1 s after the first leaves at once"
  );
}

function countCalls(calls: number): string {
  return calls === 1 ? "1 call" : `${calls} calls`;
}
