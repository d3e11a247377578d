import { INITIAL_CREDIT_BYTES, ProtocolError } from "../protocol/frames.ts";
import type { PeerChannel } from "./channel.ts";
import { PeerFrame } from "./wire.ts";

/** What answers one stream of another gateway. */
export interface StreamServant {
  /** The last piece of the request is there. */
  onWhole(body: readonly Buffer[], bytes: number): void;
  /** So much of the answer was taken. */
  onCredit(bytes: number): void;
  /** It may begin. */
  onGo(): void;
  /** Nothing of it is wanted any more; `meta` may say why. The connection may be gone, too. */
  onCancelled(meta: Buffer): void;
}

/** A call or request that another gateway sends here: its body comes in, the answer goes out, both by credit. */
export class InboundStream {
  servant: StreamServant | undefined;
  readonly #channel: PeerChannel;
  readonly #stream: number;
  readonly #onEnded: (stream: number) => void;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #credit = INITIAL_CREDIT_BYTES;
  #isWhole = false;
  #ended = false;

  constructor(channel: PeerChannel, stream: number, onEnded: (stream: number) => void) {
    this.#channel = channel;
    this.#stream = stream;
    this.#onEnded = onEnded;
  }

  get ended(): boolean {
    return this.#ended;
  }

  // What comes in

  /** The piece within CALL. */
  begin(piece: Buffer, more: boolean): void {
    this.#take(piece, more);
  }

  receiveData(piece: Buffer, more: boolean): void {
    if (this.#isWhole) throw new ProtocolError(`stream ${this.#stream} goes on after its end`);
    this.#credit -= piece.length;
    if (this.#credit < 0) throw new ProtocolError(`stream ${this.#stream} sent more than its credit`);
    this.#take(piece, more);
    if (!more || this.#ended) return;
    this.#credit += piece.length;
    const body = Buffer.allocUnsafe(4);
    body.writeUInt32BE(piece.length);
    this.#channel.send(this.#stream, PeerFrame.CREDIT, false, "", body);
  }

  receiveCredit(body: Buffer): void {
    if (body.length !== 4) throw new ProtocolError("CREDIT needs 4 bytes");
    this.servant?.onCredit(body.readUInt32BE(0));
  }

  cancel(meta: Buffer): void {
    if (this.#ended) return;
    this.#end();
    this.servant?.onCancelled(meta);
  }

  // What goes out

  queued(): void {
    this.#send(PeerFrame.QUEUED, false, "", undefined);
  }

  askToBegin(): void {
    this.#send(PeerFrame.BEGIN, false, "", undefined);
  }

  /** hot */
  sendHead(status: number, meta: string, piece: Buffer, more: boolean): void {
    this.#send(status, more, meta, piece);
    if (!more) this.#end();
  }

  /** hot */
  sendData(piece: Buffer, more: boolean): void {
    this.#send(PeerFrame.DATA, more, "", piece);
    if (!more) this.#end();
  }

  /** Ends it before its head (`ERROR`) or in the middle (`ABORT`). */
  fail(kind: typeof PeerFrame.ERROR | typeof PeerFrame.ABORT | typeof PeerFrame.BUSY, meta: string): void {
    this.#send(kind, false, meta, undefined);
    this.#end();
  }

  #take(piece: Buffer, more: boolean): void {
    if (this.#ended) return;
    if (piece.length > 0) this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (more) return;
    this.#isWhole = true;
    this.servant?.onWhole(this.#pieces, this.#bytes);
  }

  #send(kind: number, more: boolean, meta: string, body: Buffer | undefined): void {
    if (!this.#ended) this.#channel.send(this.#stream, kind, more, meta, body);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnded(this.#stream);
  }
}
