import type { LogEntry } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { LogFollower } from "./following.ts";
import type { LogQuery } from "./query.ts";

/** After a gateway was lost its successor is asked so much later. */
const AGAIN_MS = 250;
/** What may have come while nobody was asked. */
const CATCH_UP_TAIL = 1000;

export interface RoutedFollowingOptions {
  query: LogQuery;
  clock: Clock;
  follower: LogFollower;
  ownerOf(): string;
  /** Follows at a gateway; resolves when the function is gone there, rejects when it has to be followed elsewhere. */
  followAt(owner: string, query: LogQuery, onEntry: (entry: LogEntry) => void, signal: AbortSignal): Promise<void>;
  onStopped(): void;
}

/** Follows one log wherever it is kept, and goes with it when it moves: no line twice, none left out that was handed over. */
export class RoutedFollowing {
  readonly #options: RoutedFollowingOptions;
  #owner: string | undefined;
  #attempt: AbortController | undefined;
  #timer: Timer | undefined;
  #lastTime = "";
  /** What was told of that very moment. */
  readonly #told = new Set<string>();
  #stopped = false;

  constructor(options: RoutedFollowingOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = undefined;
    if (this.#stopped) return;
    const attempt = new AbortController();
    this.#attempt = attempt;
    const owner = this.#options.ownerOf();
    this.#owner = owner;
    const isCurrent = (): boolean => this.#attempt === attempt && !this.#stopped;
    const tell = (entry: LogEntry): void => {
      if (isCurrent()) this.#tell(entry);
    };
    this.#options.followAt(owner, this.#rest(), tell, attempt.signal).then(
      () => {
        if (isCurrent()) this.end();
      },
      () => {
        if (isCurrent()) this.#again();
      },
    );
  }

  /** The log may be kept elsewhere now. */
  ownersChanged(): void {
    if (this.#stopped || this.#options.ownerOf() === this.#owner) return;
    this.#attempt?.abort();
    this.#attempt = undefined;
    // The old owner hands it over first.
    this.#again();
  }

  end(): void {
    if (this.#stopped) return;
    this.stop();
    this.#options.follower.onEnd();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#attempt?.abort();
    this.#timer?.cancel();
    this.#options.onStopped();
  }

  #again(): void {
    this.#timer ??= this.#options.clock.setTimer(AGAIN_MS, () => this.start());
  }

  #rest(): LogQuery {
    const { query } = this.#options;
    return this.#lastTime === "" ? query : { ...query, tail: CATCH_UP_TAIL, sinceMs: Date.parse(this.#lastTime) };
  }

  #tell(entry: LogEntry): void {
    const key = JSON.stringify(entry);
    if (entry.time === this.#lastTime && this.#told.has(key)) return;
    if (entry.time > this.#lastTime) {
      this.#lastTime = entry.time;
      this.#told.clear();
    }
    this.#told.add(key);
    try {
      this.#options.follower.onEntry(entry);
    } catch {
      this.end();
    }
  }
}
