/** What one line may hold; the rest of it is thrown away. */
export const MAX_LINE_BYTES = 65_536;

export type EmitLine = (message: string, truncated: boolean) => void;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Cuts a stream of bytes into lines of text. Bytes that are no UTF-8 become U+FFFD; of a line without an end no more
 * than `MAX_LINE_BYTES` are ever held.
 */
export class LineSplitter {
  readonly #emit: EmitLine;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The line that comes in was cut and emitted already: pass over the rest of it. */
  #skipping = false;

  constructor(emit: EmitLine) {
    this.#emit = emit;
  }

  write(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#take(chunk.subarray(from, end));
      this.#endLine();
      from = end + 1;
    }
    this.#take(chunk.subarray(from));
  }

  /** What came after the last line's end is a line, too. */
  end(): void {
    if (this.#heldBytes > 0) this.#endLine();
  }

  #take(piece: Buffer): void {
    if (this.#skipping || piece.length === 0) return;
    const room = MAX_LINE_BYTES - this.#heldBytes;
    // A copy, as a view would keep the whole chunk alive for as long as its line has no end.
    const kept = Buffer.from(piece.subarray(0, room));
    this.#held.push(kept);
    this.#heldBytes += kept.length;
    if (piece.length > room) {
      this.#emitHeld(true);
      this.#skipping = true;
    }
  }

  #endLine(): void {
    if (!this.#skipping) this.#emitHeld(false);
    this.#skipping = false;
  }

  #emitHeld(truncated: boolean): void {
    const line = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    this.#emit(decodeLine(line, truncated), truncated);
  }
}

function decodeLine(line: Buffer, truncated: boolean): string {
  if (truncated) return line.subarray(0, wholeCharacters(line)).toString();
  const end = line.at(-1) === CARRIAGE_RETURN ? line.length - 1 : line.length;
  return line.toString("utf8", 0, end);
}

/** Length without a last character whose bytes were cut off; what is no UTF-8 anyway stays. */
export function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
