import { INITIAL_CREDIT_BYTES, MAX_BODY_BYTES } from "../protocol/frames.ts";

/** Sends one piece; `more` says that others follow. */
export type SendPiece = (piece: Buffer, more: boolean) => void;

/** The rest of an answer that this gateway writes itself: it leaves as the other side takes it. */
export class CreditedBody {
  readonly #send: SendPiece;
  #credit = INITIAL_CREDIT_BYTES;
  readonly #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #ended = false;

  constructor(send: SendPiece) {
    this.#send = send;
  }

  /** What waits for credit. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += MAX_BODY_BYTES) this.#unsent.push(bytes.subarray(at, at + MAX_BODY_BYTES));
    this.#unsentBytes += bytes.length;
    this.#flush();
  }

  /** Nothing more is pushed. */
  end(): void {
    this.#ended = true;
    // What waits ends with its last piece.
    if (this.#unsent.length === 0) this.#send(Buffer.alloc(0), false);
  }

  grant(bytes: number): void {
    this.#credit += bytes;
    this.#flush();
  }

  #flush(): void {
    for (let piece = this.#unsent[0]; piece !== undefined && this.#credit >= piece.length; piece = this.#unsent[0]) {
      this.#unsent.shift();
      this.#unsentBytes -= piece.length;
      this.#credit -= piece.length;
      this.#send(piece, !(this.#ended && this.#unsent.length === 0));
    }
  }
}
