import type { LogEntry } from "@kube-serverless/contracts";
import { type LogQuery, matchesQuery } from "./query.ts";

/** Who follows a log. */
export interface LogFollower {
  /** Must not block; throwing ends the following. */
  onEntry(entry: LogEntry): void;
  /** The function is gone, or the server stops. */
  onEnd(): void;
}

/** One follower: what comes while the old entries are still read waits behind them. */
export class Following {
  readonly #query: LogQuery;
  readonly #follower: LogFollower;
  #buffered: LogEntry[] | undefined = [];
  #state: "open" | "ending" | "closed" = "open";

  constructor(query: LogQuery, follower: LogFollower) {
    this.#query = query;
    this.#follower = follower;
  }

  push(entry: LogEntry): void {
    if (this.#state !== "open" || !matchesQuery(entry, this.#query)) return;
    if (this.#buffered === undefined) this.#deliver(entry);
    else this.#buffered.push(entry);
  }

  /** The old entries have been read: they match already. */
  begin(entries: readonly LogEntry[]): void {
    const buffered = this.#buffered ?? [];
    this.#buffered = undefined;
    for (const entry of [...entries, ...buffered]) this.#deliver(entry);
    if (this.#state === "ending") this.#close();
  }

  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ending";
    if (this.#buffered === undefined) this.#close();
  }

  /** The follower has enough, and hears nothing more. */
  stop(): void {
    this.#state = "closed";
    this.#buffered = undefined;
  }

  #deliver(entry: LogEntry): void {
    if (this.#state === "closed") return;
    try {
      this.#follower.onEntry(entry);
    } catch {
      this.#close();
    }
  }

  #close(): void {
    this.#state = "closed";
    this.#follower.onEnd();
  }
}
