const FIRST_CAPACITY = 64;

/**
 * What is under way on a connection, by the number of its stream (from 1 on).
 *
 * A `Map` that calls come into and leave puts itself into a new table again and again, and V8 lets each old table point to the
 * next one, for iterators. Once such a table is old, all that follow survive every young collection, with the calls that were in
 * them: a server in that state spent a fifth of its time there. Here an old table points to nothing.
 */
export class StreamTable<Value> {
  /** Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and R); 0 is a free place. */
  #streams = buildPlaces(FIRST_CAPACITY, 0);
  #values = buildPlaces<Value | undefined>(FIRST_CAPACITY, undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** hot */
  get(stream: number): Value | undefined {
    return this.#values[this.#find(stream)];
  }

  /** hot: the stream must not be there yet. */
  add(stream: number, value: Value): void {
    if ((this.#size + 1) * 2 > this.#streams.length) this.#grow();
    this.#put(stream, value);
    this.#size++;
  }

  /** hot: false when it was not there. */
  delete(stream: number): boolean {
    let hole = this.#find(stream);
    if (this.#streams[hole] !== stream) return false;
    const mask = this.#streams.length - 1;
    // What probing has pushed behind the hole moves up, so that nothing is looked for past a free place.
    for (let at = (hole + 1) & mask; this.#streams[at] !== 0; at = (at + 1) & mask) {
      const probed = (at - this.#streams[at]!) & mask;
      if (probed < ((at - hole) & mask)) continue;
      this.#streams[hole] = this.#streams[at]!;
      this.#values[hole] = this.#values[at];
      hole = at;
    }
    this.#streams[hole] = 0;
    this.#values[hole] = undefined;
    this.#size--;
    return true;
  }

  clear(): void {
    this.#streams.fill(0);
    this.#values.fill(undefined);
    this.#size = 0;
  }

  /** Those of now, oldest stream first. */
  list(): Value[] {
    const taken = [...this.#streams.keys()].filter((at) => this.#streams[at] !== 0);
    taken.sort((a, b) => this.#streams[a]! - this.#streams[b]!);
    return taken.map((at) => this.#values[at]!);
  }

  /** Where the stream is, or where it would be. */
  #find(stream: number): number {
    const mask = this.#streams.length - 1;
    let at = stream & mask;
    while (this.#streams[at] !== stream && this.#streams[at] !== 0) at = (at + 1) & mask;
    return at;
  }

  #put(stream: number, value: Value | undefined): void {
    const at = this.#find(stream);
    this.#streams[at] = stream;
    this.#values[at] = value;
  }

  #grow(): void {
    const streams = this.#streams;
    const values = this.#values;
    this.#streams = buildPlaces(streams.length * 2, 0);
    this.#values = buildPlaces<Value | undefined>(streams.length * 2, undefined);
    for (const [index, stream] of streams.entries()) if (stream !== 0) this.#put(stream, values[index]);
  }
}

function buildPlaces<Content>(count: number, content: Content): Content[] {
  return Array.from({ length: count }, () => content);
}
