import type { ServerResponse } from "node:http";
import { KsError } from "@kube-serverless/contracts";

/** What one request holds of the budget; given back when its answer has left or its caller is gone. */
export interface BodyHold {
  /** @throws KsError `OVERLOADED` when all bodies together would take too much */
  take(bytes: number): void;
}

/** Bounds the bodies of all requests together, from their first byte to the end of the answer: a thousand large ones must not fill the memory. */
export class BodyBudget {
  readonly maxBytes: number;
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  hold(res: ServerResponse): BodyHold {
    let held = 0;
    res.on("close", () => {
      this.#usedBytes -= held;
      held = 0;
    });
    return {
      take: (bytes) => {
        if (this.#usedBytes + bytes > this.maxBytes) throw this.#refuse(bytes);
        this.#usedBytes += bytes;
        held += bytes;
      },
    };
  }

  #refuse(bytes: number): KsError {
    return new KsError("OVERLOADED", {
      message:
        `Too many request bodies at once: ${this.#usedBytes} of ${this.maxBytes} bytes are held, another ${bytes} do not fit. ` +
        "Try again, or raise --max-bodies-size",
      retryAfterMs: 1000,
      details: { heldBytes: this.#usedBytes, maxBytes: this.maxBytes, bytes },
    });
  }
}
