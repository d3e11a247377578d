export interface SweptMapOptions<Value> {
  capacity: number;
  /** Whether nothing is lost when it goes. */
  isOver(value: Value, nowMs: number): boolean;
  /** Kept whatever the capacity. @default never */
  isPinned?(value: Value): boolean;
}

// For each new entry: more than one, so that the map shrinks again after a crowd.
const LOOKED_AT = 2;

/**
 * A map that forgets what is over as others come, a few looked at each time, in turn: so neither a timer nor a long pause is needed.
 * Beyond its capacity it forgets what is not over, too.
 */
export class SweptMap<Value> {
  readonly #options: SweptMapOptions<Value>;
  readonly #entries = new Map<string, Value>();
  /** Kept, as a new iterator would pass all that was deleted at the front once more. */
  #sweep = this.#entries.entries();
  #forgotten = 0;

  constructor(options: SweptMapOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** How many went although they were not over: the sign that the capacity is too small. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** hot */
  get(key: string): Value | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: Value, nowMs: number): void {
    if (!this.#entries.has(key)) for (let looked = 0; looked < LOOKED_AT; looked++) this.#lookAtNext(nowMs);
    this.#entries.set(key, value);
  }

  /** Forgets all of which this holds. */
  deleteWhere(holds: (value: Value) => boolean): void {
    for (const [key, value] of this.#entries) if (holds(value)) this.#entries.delete(key);
  }

  #lookAtNext(nowMs: number): void {
    const next = this.#sweep.next();
    if (next.done === true) {
      this.#sweep = this.#entries.entries();
      return;
    }
    const [key, value] = next.value;
    const { capacity, isOver, isPinned } = this.#options;
    if (isPinned?.(value) === true) return;
    const over = isOver(value, nowMs);
    if (!over && this.#entries.size < capacity) return;
    this.#entries.delete(key);
    if (!over) this.#forgotten++;
  }
}
