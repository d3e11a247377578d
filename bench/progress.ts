/** Says on standard error what goes on: one line that changes on a terminal, else a line a step. */
export class Progress {
  readonly #startMs = performance.now();
  readonly #stream: NodeJS.WriteStream;
  #isOpen = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** What is done now. */
  step(text: string): void {
    const line = `[${Math.round((performance.now() - this.#startMs) / 1000)} s] ${text}`;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${line}\n`);
      return;
    }
    this.#stream.write(`\r\x1b[K${line.slice(0, this.#stream.columns - 1)}`);
    this.#isOpen = true;
  }

  /** Something that must stay readable. */
  note(text: string): void {
    this.end();
    this.#stream.write(`${text}\n`);
  }

  end(): void {
    if (this.#isOpen) this.#stream.write("\n");
    this.#isOpen = false;
  }
}
