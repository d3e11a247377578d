import type { Clock, Timer } from "../../clock.ts";
import type { CapacityLedger, Evictable, Reservation } from "./capacity.ts";
import type { WaitingReplica } from "./waiting-replica.ts";

/** What a generic replica is made for: fixed when it starts. */
export interface ReplicaClass {
  runtime: string;
  memoryMiB: number;
  network: "outbound" | "none";
}

export function classKey(replicaClass: ReplicaClass): string {
  return `${replicaClass.runtime}@${replicaClass.memoryMiB}/${replicaClass.network}`;
}

/** A waiting replica with the room it holds. */
export interface PooledReplica {
  waiting: WaitingReplica;
  reservation: Reservation;
}

export interface PoolOptions {
  clock: Clock;
  ledger: CapacityLedger;
  /** Replicas kept waiting, by class key; classes not named are kept only while they are claimed often. */
  sizes: ReadonlyMap<string, number>;
  /** Upper bound of a class's target however fast it is claimed. */
  maxSize: number;
  start(replicaClass: ReplicaClass, urgent: boolean): Promise<WaitingReplica>;
  onError(error: unknown, replicaClass: ReplicaClass): void;
}

/** Claims younger than this make the target follow their rate. */
const CLAIM_WINDOW_MS = 10_000;
/** After a failed start the class waits, twice as long each time. */
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;

/** Starting a process takes more of the machine than a first call does: pools are filled up once claims have been quiet for so long. */
const REFILL_QUIET_MS = 10;
/** However many claims come, it is put off no longer. */
const REFILL_LIMIT_MS = 100;

/** A replica that is being started for a pool. */
interface PoolStart {
  reservation: Reservation;
  /** Others need its room more: it ends as soon as it has started. */
  unwanted: boolean;
}

class ClassPool {
  readonly replicaClass: ReplicaClass;
  readonly configured: number;
  waiting: PooledReplica[] = [];
  readonly starts = new Set<PoolStart>();
  claims: number[] = [];
  backoffMs = 0;
  backoff: Timer | undefined;

  constructor(replicaClass: ReplicaClass, configured: number) {
    this.replicaClass = replicaClass;
    this.configured = configured;
  }
}

/** Generic replicas that wait for a function, per class, refilled beside the calls. */
export class ReplicaPool {
  readonly #options: PoolOptions;
  readonly #classes = new Map<string, ClassPool>();
  #stopped = false;
  #trimTimer: Timer | undefined;
  #refilling: NodeJS.Immediate | undefined;
  #refillTimer: Timer | undefined;
  #refillDueByMs = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Begins to keep a class. */
  keep(replicaClass: ReplicaClass): void {
    this.#refill(this.#classPool(replicaClass));
  }

  /** hot: a waiting replica, or undefined; another one is started in its place when the machine has time. */
  take(replicaClass: ReplicaClass): PooledReplica | undefined {
    const pool = this.#classPool(replicaClass);
    pool.claims.push(this.#options.clock.monotonicMs());
    let taken = pool.waiting.pop();
    while (taken?.waiting.dead === true) {
      taken.reservation.release();
      taken = pool.waiting.pop();
    }
    this.putOffRefill();
    this.#scheduleTrim();
    return taken;
  }

  /** Something of a first call goes on: what is to be started waits until it is quiet. */
  putOffRefill(): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#refillTimer === undefined) this.#refillDueByMs = nowMs + REFILL_LIMIT_MS;
    this.#refillTimer?.cancel();
    this.#refillTimer = clock.setTimer(Math.min(REFILL_QUIET_MS, this.#refillDueByMs - nowMs), () => {
      this.#refillTimer = undefined;
      this.#refillAll();
    });
  }

  /** Room has come free: every class may have what it lacks. */
  refill(): void {
    this.#refilling ??= setImmediate(() => {
      this.#refilling = undefined;
      this.#refillAll();
    });
  }

  /** Those that wait, then those that would once they have started. */
  *evictable(): Generator<Evictable> {
    for (const pool of this.#classes.values()) {
      for (const pooled of pool.waiting) yield { reservation: pooled.reservation, evict: () => this.#evict(pool, pooled) };
    }
    for (const pool of this.#classes.values()) {
      for (const start of pool.starts) {
        if (!start.unwanted) yield { reservation: start.reservation, evict: () => void (start.unwanted = true) };
      }
    }
  }

  state(): { runtime: string; memoryMiB: number; waiting: PooledReplica[]; target: number; configured: number }[] {
    return [...this.#classes.values()].map((pool) => ({
      runtime: pool.replicaClass.runtime,
      memoryMiB: pool.replicaClass.memoryMiB,
      waiting: pool.waiting,
      target: this.#target(pool),
      configured: pool.configured,
    }));
  }

  stop(): void {
    this.#stopped = true;
    this.#trimTimer?.cancel();
    clearImmediate(this.#refilling);
    this.#refillTimer?.cancel();
    for (const pool of this.#classes.values()) {
      pool.backoff?.cancel();
      for (const pooled of pool.waiting) this.#end(pooled);
      pool.waiting = [];
    }
  }

  #classPool(replicaClass: ReplicaClass): ClassPool {
    const key = classKey(replicaClass);
    let pool = this.#classes.get(key);
    if (pool === undefined) {
      pool = new ClassPool(replicaClass, this.#options.sizes.get(key) ?? 0);
      this.#classes.set(key, pool);
    }
    return pool;
  }

  /** The configured size, or as many as were claimed within the window, whichever is more. */
  #target(pool: ClassPool): number {
    const sinceMs = this.#options.clock.monotonicMs() - CLAIM_WINDOW_MS;
    while (pool.claims.length > 0 && pool.claims[0]! < sinceMs) pool.claims.shift();
    if (pool.claims.length > 1000) pool.claims.splice(0, pool.claims.length - 1000);
    return Math.max(pool.configured, Math.min(pool.claims.length, this.#options.maxSize));
  }

  #refillAll(): void {
    for (const pool of this.#classes.values()) this.#refill(pool);
  }

  #refill(pool: ClassPool): void {
    if (this.#stopped || pool.backoff !== undefined) return;
    const starting = [...pool.starts].filter((start) => !start.unwanted).length;
    for (let missing = this.#target(pool) - pool.waiting.length - starting; missing > 0; missing--) {
      const reservation = this.#options.ledger.tryReserve(pool.replicaClass.memoryMiB);
      if (reservation === undefined) return;
      void this.#startOne(pool, { reservation, unwanted: false });
    }
  }

  async #startOne(pool: ClassPool, start: PoolStart): Promise<void> {
    const { reservation } = start;
    pool.starts.add(start);
    try {
      const waiting = await this.#options.start(pool.replicaClass, false);
      pool.starts.delete(start);
      pool.backoffMs = 0;
      if (start.unwanted) this.#end({ waiting, reservation });
      else this.#add(pool, { waiting, reservation });
    } catch (error) {
      pool.starts.delete(start);
      reservation.release();
      if (this.#stopped) return;
      this.#options.onError(error, pool.replicaClass);
      this.#backOff(pool);
    }
  }

  #add(pool: ClassPool, pooled: PooledReplica): void {
    void pooled.waiting.process.exited.then(() => {
      const at = pool.waiting.indexOf(pooled);
      if (at < 0) return;
      pool.waiting.splice(at, 1);
      pooled.reservation.release();
      this.#refill(pool);
    });
    if (this.#stopped || pooled.waiting.dead) this.#end(pooled);
    else pool.waiting.push(pooled);
  }

  #backOff(pool: ClassPool): void {
    // Several that failed together are one failure.
    if (pool.backoff !== undefined) return;
    pool.backoffMs = Math.min(MAX_BACKOFF_MS, pool.backoffMs === 0 ? FIRST_BACKOFF_MS : pool.backoffMs * 2);
    pool.backoff = this.#options.clock.setTimer(pool.backoffMs, () => {
      pool.backoff = undefined;
      this.#refill(pool);
    });
  }

  /** Ends what a burst of claims left beyond the target, once the window has passed. */
  #scheduleTrim(): void {
    this.#trimTimer ??= this.#options.clock.setTimer(CLAIM_WINDOW_MS + 1000, () => {
      this.#trimTimer = undefined;
      let again = false;
      for (const [key, pool] of this.#classes) {
        const target = this.#target(pool);
        while (pool.waiting.length > target) this.#end(pool.waiting.shift()!);
        again ||= pool.claims.length > 0;
        // A class that nobody asks for any more is forgotten, as there may be many.
        if (target === 0 && pool.starts.size === 0 && pool.backoff === undefined) this.#classes.delete(key);
      }
      if (again && !this.#stopped) this.#scheduleTrim();
    });
  }

  #evict(pool: ClassPool, pooled: PooledReplica): void {
    pool.waiting.splice(pool.waiting.indexOf(pooled), 1);
    this.#end(pooled);
  }

  #end(pooled: PooledReplica): void {
    pooled.waiting.process.kill();
    void pooled.waiting.process.exited.then(() => pooled.reservation.release());
  }
}
