import type { Clock } from "../clock.ts";
import type { SpecWithoutCode } from "../store/port.ts";
import type { FunctionRegistry } from "./registry.ts";
import { buildRoutes, type Route, RouteTable } from "./route-table.ts";
import { refuseTakenPath } from "./spec-refusals.ts";

/** Whoever asked for a hold and is gone leaves it behind for so long: longer than a write takes. */
const HOLD_MS = 30_000;

/** Asks for the paths of a spec that is about to be written. */
export interface HoldRequest {
  id: string;
  /** Uid of the function; of one that is being made, its name. */
  uid: string;
  name: string;
  triggers: SpecWithoutCode["triggers"];
}

/** What came of the write; without a uid nothing was written. */
export interface HoldEnd {
  id: string;
  written?: { uid: string; name: string; generation: number };
}

interface Hold {
  uid: string;
  routes: readonly Route[];
  /** By the monotonic clock. */
  endsAtMs: number;
  written: HoldEnd["written"];
}

/**
 * Paths between the moment they are asked for and the moment this gateway knows the function that has them. One gateway keeps them
 * for all: of several writes at once only the first is begun.
 */
export class PathHolds {
  readonly #clock: Clock;
  readonly #registry: FunctionRegistry;
  readonly #holds = new Map<string, Hold>();
  readonly #table = new RouteTable();

  constructor(clock: Clock, registry: FunctionRegistry) {
    this.#clock = clock;
    this.#registry = registry;
  }

  get size(): number {
    return this.#holds.size;
  }

  /** @throws KsError `ROUTE_CONFLICT` where another function has one of the paths, or asked for it first */
  begin({ id, uid, name, triggers }: HoldRequest): void {
    this.#sweep();
    const routes = buildRoutes(uid, { name, triggers });
    refuseTakenPath(this.#registry.reservedRoutes, routes);
    refuseTakenPath(this.#table, routes);
    this.#set(id, { uid, routes, endsAtMs: this.#clock.monotonicMs() + HOLD_MS, written: undefined });
  }

  /** The write is over: what was written is held until this gateway knows it. */
  end({ id, written }: HoldEnd): void {
    const hold = this.#holds.get(id);
    if (hold === undefined) return;
    this.#remove(id, hold);
    if (written === undefined) return;
    const { uid } = written;
    this.#set(id, { ...hold, uid, routes: hold.routes.map((route) => ({ ...route, uid })), written });
    this.#sweep();
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [id, hold] of this.#holds) if (hold.endsAtMs <= nowMs || this.#isSettled(hold)) this.#remove(id, hold);
  }

  /** The function has its paths in the registry by now, or is gone again. */
  #isSettled({ written }: Hold): boolean {
    if (written === undefined) return false;
    const entry = this.#registry.byUid(written.uid);
    return entry === undefined || entry.stored.generation >= written.generation;
  }

  #set(id: string, hold: Hold): void {
    this.#holds.set(id, hold);
    this.#sync(hold.uid);
  }

  #remove(id: string, hold: Hold): void {
    this.#holds.delete(id);
    this.#sync(hold.uid);
  }

  #sync(uid: string): void {
    const routes = [...this.#holds.values()].filter((hold) => hold.uid === uid).flatMap((hold) => hold.routes);
    this.#table.set(uid, routes);
  }
}
