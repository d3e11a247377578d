/** Lets so many starts run at once, those that a call waits for first: a start burns a core for tens of milliseconds. */
export class StartGate {
  readonly #limit: number;
  #running = 0;
  readonly #urgent: (() => void)[] = [];
  readonly #background: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  async run<T>(urgent: boolean, start: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => (urgent ? this.#urgent : this.#background).push(resolve));
    this.#running++;
    try {
      return await start();
    } finally {
      this.#running--;
      (this.#urgent.shift() ?? this.#background.shift())?.();
    }
  }
}
