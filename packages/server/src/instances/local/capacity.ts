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

/** Something that holds room and could go. */
export interface Evictable {
  readonly reservation: Reservation;
  /** Ends it; its room is free once its process is gone. */
  evict(): void;
}

/** What could go, what should go first at the front; looked at without ending any of it. */
export type Evictables = () => Iterable<Evictable>;

const NOTHING: Evictables = () => [];

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
  readonly #idle: Evictables;
  #replicas = 0;
  #memoryMiB = 0;
  /** What is being ended, and is not gone yet. */
  readonly #leaving = new Set<Reservation>();
  readonly #waiters: Waiter[] = [];
  /** Something has given room back, and nobody waits for it. */
  onRoom: () => void = () => undefined;

  constructor(limits: CapacityLimits, idle: Evictables) {
    this.limits = limits;
    this.#idle = idle;
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
   * Room at once, or when what is being ended is gone: idle replicas, and in the last resort those that give way to their
   * successor. Where that is not enough nothing is ended.
   * @throws KsError `NO_CAPACITY` when too little could go, `FUNCTION_FAILED` when the machine never has so much.
   */
  reserve(memoryMiB: number, yielding: Evictables = NOTHING): Reservation | Promise<Reservation> {
    const now = this.tryReserve(memoryMiB);
    if (now !== undefined) return now;
    if (memoryMiB > this.limits.maxMemoryMiB) throw this.#tooLarge(memoryMiB);
    const victims = this.#plan(memoryMiB, yielding);
    if (victims === undefined) throw this.#noCapacity(memoryMiB);
    for (const { reservation, evict } of victims) {
      evict();
      reservation.leave();
    }
    return new Promise((resolve) => this.#waiters.push({ memoryMiB, resolve }));
  }

  /** As few as make room, those first that should go first; undefined when all together do not. */
  #plan(memoryMiB: number, yielding: Evictables): Evictable[] | undefined {
    // What will be free once everybody who waits has room, and all that leaves is gone.
    let replicas = this.limits.maxReplicas - this.#replicas + this.#leaving.size - this.#waiters.length;
    let freeMiB = this.limits.maxMemoryMiB - this.#memoryMiB + sumMiB(this.#leaving) - sumMiB(this.#waiters);
    const victims = new Map<Reservation, Evictable>();
    for (const candidate of concat(this.#idle, yielding)) {
      if (replicas > 0 && freeMiB >= memoryMiB) break;
      const { reservation } = candidate;
      // One of its own may be idle, too.
      if (victims.has(reservation) || this.#leaving.has(reservation)) continue;
      victims.set(reservation, candidate);
      replicas++;
      freeMiB += reservation.memoryMiB;
    }
    if (replicas <= 0 || freeMiB < memoryMiB) return undefined;
    // Small ones that were taken before a large one came may stay after all.
    for (const reservation of [...victims.keys()].toReversed()) {
      if (replicas <= 1 || freeMiB - reservation.memoryMiB < memoryMiB) continue;
      victims.delete(reservation);
      replicas--;
      freeMiB -= reservation.memoryMiB;
    }
    return [...victims.values()];
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
    const binding = [
      ...(this.#replicas < maxReplicas ? [] : ["--max-replicas"]),
      ...(this.#memoryMiB + memoryMiB <= maxMemoryMiB ? [] : ["--max-memory"]),
    ];
    // What is free may be promised to those who came before.
    const options = binding.length === 0 ? ["--max-replicas", "--max-memory"] : binding;
    return new KsError("NO_CAPACITY", {
      message:
        `No capacity: ${this.#replicas} of ${maxReplicas} replicas and ${this.#memoryMiB} of ${maxMemoryMiB} MiB are in use, ` +
        `another ${memoryMiB} MiB is needed and too little is idle. Raise ${options.join(" or ")}, or try again`,
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

function* concat(...parts: readonly Evictables[]): Generator<Evictable> {
  for (const part of parts) yield* part();
}
