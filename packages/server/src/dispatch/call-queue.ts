import type { Call } from "./call.ts";

export interface QueueLimits {
  maxCalls: number;
  maxBytes: number;
}

/** Beyond it, and beyond as many as there are calls, what callers that left have left behind is cleared away. */
const MAX_HOLES = 64;

/** Calls that wait for a place, oldest first, within bounds on their number and their bodies. */
export class CallQueue {
  readonly limits: QueueLimits;
  #calls: (Call | undefined)[] = [];
  #head = 0;
  #size = 0;
  #bytes = 0;

  constructor(limits: QueueLimits) {
    this.limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  /** Places that are kept for them. */
  get room(): number {
    return this.#calls.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when the bounds leave no room. */
  push(call: Call): boolean {
    if (this.#size >= this.limits.maxCalls || this.#bytes + call.bodyBytes > this.limits.maxBytes) return false;
    this.#calls.push(call);
    this.#count(call, 1);
    return true;
  }

  /** Puts back what a replica gave back; it was admitted before, so no bound applies. */
  unshift(call: Call): void {
    if (this.#head > 0) this.#calls[--this.#head] = call;
    else this.#calls.unshift(call);
    this.#count(call, 1);
  }

  peek(): Call | undefined {
    this.#skipHoles();
    return this.#calls[this.#head];
  }

  shift(): Call | undefined {
    const call = this.peek();
    if (call === undefined) return undefined;
    this.#calls[this.#head++] = undefined;
    this.#count(call, -1);
    return call;
  }

  remove(call: Call): boolean {
    const at = this.#calls.indexOf(call, this.#head);
    if (at < 0) return false;
    this.#calls[at] = undefined;
    this.#count(call, -1);
    if (this.#calls.length > 2 * this.#size + MAX_HOLES) this.#compact();
    return true;
  }

  #compact(): void {
    this.#calls = this.#calls.filter((call) => call !== undefined);
    this.#head = 0;
  }

  #count(call: Call, sign: 1 | -1): void {
    this.#size += sign;
    this.#bytes += sign * call.bodyBytes;
  }

  #skipHoles(): void {
    while (this.#head < this.#calls.length && this.#calls[this.#head] === undefined) this.#head++;
    if (this.#head === this.#calls.length) {
      this.#calls = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#calls.length) {
      this.#calls = this.#calls.slice(this.#head);
      this.#head = 0;
    }
  }
}
