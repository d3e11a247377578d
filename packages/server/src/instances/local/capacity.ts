import { KsError } from "@kube-serverless/contracts";

export interface CapacityLimits {
  maxReplicas: number;
  maxMemoryMiB: number;
}

/** What one process holds of the machine until it is gone. */
export interface Reservation {
  readonly memoryMiB: number;
  /** Its process is being ended: those who come may wait for its room. */
  leave(): void;
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
  readonly #makeRoom: () => Reservation | undefined;
  #replicas = 0;
  #memoryMiB = 0;
  /** What is being ended, and is not gone yet. */
  readonly #leaving = new Set<Reservation>();
  readonly #waiters: Waiter[] = [];
  /** Something has given room back, and nobody waits for it. */
  onRoom: () => void = () => undefined;

  /** @param makeRoom Ends something idle and tells what that holds until its process is gone; undefined when there is nothing. */
  constructor(limits: CapacityLimits, makeRoom: () => Reservation | undefined) {
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
   * Room at once, or when what is being ended is gone: idle replicas, and in the last resort one that gives way to its successor.
   * @throws KsError `NO_CAPACITY` when too little is idle, `FUNCTION_FAILED` when the machine never has so much.
   */
  reserve(memoryMiB: number, giveWay: () => Reservation | undefined = () => undefined): Reservation | Promise<Reservation> {
    const now = this.tryReserve(memoryMiB);
    if (now !== undefined) return now;
    if (memoryMiB > this.limits.maxMemoryMiB) throw this.#tooLarge(memoryMiB);
    this.#endIdle(memoryMiB);
    if (!this.#willFit(memoryMiB)) giveWay()?.leave();
    if (!this.#willFit(memoryMiB)) throw this.#noCapacity(memoryMiB);
    return new Promise((resolve) => this.#waiters.push({ memoryMiB, resolve }));
  }

  /** Until there will be room, or nothing idle is left. */
  #endIdle(memoryMiB: number): void {
    while (!this.#willFit(memoryMiB)) {
      const idle = this.#makeRoom();
      if (idle === undefined) return;
      idle.leave();
    }
  }

  /** Once everybody who waits has room, and all that leaves is gone. */
  #willFit(memoryMiB: number): boolean {
    const replicas = this.#replicas - this.#leaving.size + this.#waiters.length;
    const usedMiB = this.#memoryMiB - sumMiB(this.#leaving) + sumMiB(this.#waiters);
    return replicas < this.limits.maxReplicas && usedMiB + memoryMiB <= this.limits.maxMemoryMiB;
  }

  #take(memoryMiB: number): Reservation {
    this.#replicas++;
    this.#memoryMiB += memoryMiB;
    let held = true;
    const reservation: Reservation = {
      memoryMiB,
      leave: () => {
        if (held) this.#leaving.add(reservation);
      },
      release: () => {
        if (!held) return;
        held = false;
        this.#leaving.delete(reservation);
        this.#replicas--;
        this.#memoryMiB -= memoryMiB;
        this.#serveWaiters();
        if (this.#waiters.length === 0) this.onRoom();
      },
    };
    return reservation;
  }

  #serveWaiters(): void {
    for (let next = this.#waiters[0]; next !== undefined && this.fits(next.memoryMiB); next = this.#waiters[0]) {
      this.#waiters.shift();
      next.resolve(this.#take(next.memoryMiB));
    }
  }

  #tooLarge(memoryMiB: number): KsError {
    const { maxMemoryMiB } = this.limits;
    const message = `MemoryLimit: the function asks for ${memoryMiB} MiB, all replicas together may have ${maxMemoryMiB} MiB. Ask for less, or raise --max-memory`;
    return new KsError("FUNCTION_FAILED", { message, details: { reason: "MemoryLimit", message } });
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

function sumMiB(holders: Iterable<{ memoryMiB: number }>): number {
  let sum = 0;
  for (const { memoryMiB } of holders) sum += memoryMiB;
  return sum;
}
