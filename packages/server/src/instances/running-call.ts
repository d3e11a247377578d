import { INITIAL_CREDIT_BYTES, MAX_BODY_BYTES } from "../protocol/frames.ts";
import type { CallHandle, CallSink } from "./port.ts";

/** What a running call asks of its replica. */
export interface CallControl {
  cancelCall(stream: number): void;
  creditCall(stream: number, bytes: number): void;
}

/** One stream of a replica's connection. */
export class RunningCall<Sink extends CallSink = CallSink> implements CallHandle {
  readonly sink: Sink;
  readonly stream: number;
  readonly timeoutMs: number;
  /** Whose request it is, for lines that name none. */
  requestId: string | undefined;
  /** `flushes` of its writer when CALL was sent. */
  sentAtFlush = 0;
  /** On the monotonic clock; none before READY. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** True from READY on: the handler may run. */
  started = false;
  hasHead = false;
  /** Bytes of DATA that the replica may still send. */
  receiveCredit = INITIAL_CREDIT_BYTES;
  sendCredit = INITIAL_CREDIT_BYTES;
  unsent: Buffer[] = [];
  /** When its stream went on last. */
  progressAtMs = 0;
  /** Its caller was cut off, as it took nothing. */
  stalled = false;
  readonly #control: CallControl;

  constructor(control: CallControl, stream: number, sink: Sink, timeoutMs: number) {
    this.#control = control;
    this.stream = stream;
    this.sink = sink;
    this.timeoutMs = timeoutMs;
  }

  cancel(): void {
    this.#control.cancelCall(this.stream);
  }

  credit(bytes: number): void {
    this.#control.creditCall(this.stream, bytes);
  }
}

/** hot: pieces of at most 64 KiB; a body that fits is one piece. */
export function cutPieces(body: readonly Buffer[]): Buffer[] {
  if (body.length === 0) return [];
  if (body.length === 1 && body[0]!.length <= MAX_BODY_BYTES) return [body[0]!];
  let total = 0;
  for (const chunk of body) total += chunk.length;
  if (total <= MAX_BODY_BYTES) return [Buffer.concat(body)];
  const pieces: Buffer[] = [];
  for (const chunk of body) {
    for (let at = 0; at < chunk.length; at += MAX_BODY_BYTES) pieces.push(chunk.subarray(at, at + MAX_BODY_BYTES));
  }
  return pieces;
}
