import type { Clock, Timer } from "../clock.ts";
import type { Dispatcher } from "./dispatcher.ts";

/** The scaler looks at every active function so often. */
const TICK_MS = 1000;

/** Where the fleet finds its dispatchers. */
export interface Dispatchers {
  /** Dispatchers that exist: of functions that were called or keep replicas. */
  list(): Iterable<Dispatcher>;
}

/** All functions' dispatchers together: the scaler's beat, and who gives way when the machine is full. */
export class Fleet {
  readonly #clock: Clock;
  readonly #dispatchers: Dispatchers;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, dispatchers: Dispatchers) {
    this.#clock = clock;
    this.#dispatchers = dispatchers;
  }

  start(): void {
    this.#timer = this.#clock.setTimer(TICK_MS, () => {
      this.tick();
      if (!this.#stopped) this.start();
    });
  }

  /** One decision for each active function. */
  tick(): void {
    for (const dispatcher of this.#dispatchers.list()) if (dispatcher.active) dispatcher.evaluate();
  }

  /** Ends an idle replica of the function that was idle longest; false when every replica has calls or must stay. */
  giveUpIdle(): boolean {
    const byAge = [...this.#dispatchers.list()]
      .filter((dispatcher) => dispatcher.replicas > 0)
      .sort((a, b) => a.lastActiveMs - b.lastActiveMs);
    return byAge.some((dispatcher) => dispatcher.giveUpIdle());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }
}
