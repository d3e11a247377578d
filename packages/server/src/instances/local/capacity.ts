import { KsError } from "@kube-serverless/contracts";

export interface CapacityLimits {
  maxReplicas: number;
  maxMemoryMiB: number;
}

/** What one process holds of the machine until it is gone. */
export interface Reservation {
  readonly memoryMiB: number;
  release(): void;
}

interface Waiter {
  memoryMiB: number;
  resolve(reservation: Reservation): void;
}

/**
 * The machine-wide account of replicas and memory: pool, check, serving and draining ones alike.
 * One place, no awaits between look and take, so no race can pass the caps.
 */
export class CapacityLedger {
  readonly limits: CapacityLimits;
  readonly #makeRoom: (memoryMiB: number) => boolean;
  #replicas = 0;
  #memoryMiB = 0;
  /** Room that ends of evicted replicas will give to those that wait. */
  readonly #waiters: Waiter[] = [];

  /** @param makeRoom Ends something idle; false when there is nothing. Its room comes when its process is gone. */
  constructor(limits: CapacityLimits, makeRoom: (memoryMiB: number) => boolean) {
    this.limits = limits;
    this.#makeRoom = makeRoom;
  }

  get replicas(): number {
    return this.#replicas;
  }

  get memoryMiB(): number {
    return this.#memoryMiB;
  }

  fits(memoryMiB: number): boolean {
    return this.#replicas < this.limits.maxReplicas && this.#memoryMiB + memoryMiB <= this.limits.maxMemoryMiB;
  }

  /** Room at once, or undefined; never evicts. */
  tryReserve(memoryMiB: number): Reservation | undefined {
    return this.#waiters.length === 0 && this.fits(memoryMiB) ? this.#take(memoryMiB) : undefined;
  }

  /**
   * Room at once, or when an idle replica that is ended now is gone.
   * @throws KsError `NO_CAPACITY` when nothing idle can go.
   */
  reserve(memoryMiB: number): Reservation | Promise<Reservation> {
    const now = this.tryReserve(memoryMiB);
    if (now !== undefined) return now;
    if (memoryMiB > this.limits.maxMemoryMiB || !this.#makeRoom(memoryMiB)) throw this.#noCapacity(memoryMiB);
    return new Promise((resolve) => this.#waiters.push({ memoryMiB, resolve }));
  }

  #take(memoryMiB: number): Reservation {
    this.#replicas++;
    this.#memoryMiB += memoryMiB;
    let held = true;
    return {
      memoryMiB,
      release: () => {
        if (!held) return;
        held = false;
        this.#replicas--;
        this.#memoryMiB -= memoryMiB;
        this.#serveWaiters();
      },
    };
  }

  #serveWaiters(): void {
    for (let next = this.#waiters[0]; next !== undefined && this.fits(next.memoryMiB); next = this.#waiters[0]) {
      this.#waiters.shift();
      next.resolve(this.#take(next.memoryMiB));
    }
  }

  #noCapacity(memoryMiB: number): KsError {
    const { maxReplicas, maxMemoryMiB } = this.limits;
    return new KsError("NO_CAPACITY", {
      message:
        `No capacity: ${this.#replicas} of ${maxReplicas} replicas and ${this.#memoryMiB} of ${maxMemoryMiB} MiB are in use, ` +
        `another ${memoryMiB} MiB is needed and nothing is idle. Raise --max-replicas or --max-memory, or try again`,
      retryAfterMs: 1000,
      details: { replicas: this.#replicas, maxReplicas, memoryMiB: this.#memoryMiB, maxMemoryMiB },
    });
  }
}
