import { KsError } from "@kube-serverless/contracts";
import type { CallEntrance } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { QueueTakers } from "./queue-takers.ts";
import { buildRoutes, RouteTable } from "./route-table.ts";
import type { StoredFunction } from "../store/port.ts";

/** What a function in memory needs of the house. */
export interface EntryParts {
  createDispatcher(entry: FunctionEntry): Dispatcher;
  /** In a cluster: the way to the gateway that owns the function. Absent: all calls are for this one's dispatcher. */
  createEntrance?(entry: FunctionEntry): CallEntrance;
}

/** A function in memory. Its dispatcher is made at its first call, as most functions are idle. */
export class FunctionEntry {
  stored: StoredFunction;
  /** Deleted: what still ends of it counts nowhere. */
  gone = false;
  readonly #parts: EntryParts;
  #dispatcher: Dispatcher | undefined;
  #entrance: CallEntrance | undefined;

  constructor(stored: StoredFunction, parts: EntryParts) {
    this.stored = stored;
    this.#parts = parts;
  }

  dispatcher(): Dispatcher {
    this.#dispatcher ??= this.#parts.createDispatcher(this);
    return this.#dispatcher;
  }

  /** hot: where calls are handed in, whoever runs them. */
  entrance(): CallEntrance {
    this.#entrance ??= this.#parts.createEntrance?.(this) ?? this.dispatcher();
    return this.#entrance;
  }

  /** Another gateway owns the function: should it come back, it begins anew. */
  takeDispatcher(): Dispatcher | undefined {
    const dispatcher = this.#dispatcher;
    this.#dispatcher = undefined;
    return dispatcher;
  }

  get existingDispatcher(): Dispatcher | undefined {
    return this.#dispatcher;
  }

  /** Of the serving revision, else of the one that is being built. */
  get memoryMiB(): number {
    return (this.stored.served ?? this.stored).spec.memory;
  }

  /** Handler time of the serving revision, else of the one that is being built. */
  get timeoutMs(): number {
    return (this.stored.served ?? this.stored).spec.timeout * 1000;
  }
}

/** Every function that is there, by name and uid, with the routes that lead to them. */
export class FunctionRegistry {
  readonly routes = new RouteTable();
  /** Also has what an update asks for and does not serve yet: two functions never take each other's paths. */
  readonly reservedRoutes = new RouteTable();
  readonly queueTakers = new QueueTakers();
  readonly #byName = new Map<string, FunctionEntry>();
  readonly #byUid = new Map<string, FunctionEntry>();

  get size(): number {
    return this.#byName.size;
  }

  /** hot @throws KsError `FUNCTION_NOT_FOUND` */
  require(name: string): FunctionEntry {
    const entry = this.#byName.get(name);
    if (entry === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return entry;
  }

  byName(name: string): FunctionEntry | undefined {
    return this.#byName.get(name);
  }

  byUid(uid: string): FunctionEntry | undefined {
    return this.#byUid.get(uid);
  }

  entries(): IterableIterator<FunctionEntry> {
    return this.#byUid.values();
  }

  add(entry: FunctionEntry): void {
    this.#byName.set(entry.stored.spec.name, entry);
    this.#byUid.set(entry.stored.uid, entry);
    this.syncRoutes(entry);
  }

  remove(entry: FunctionEntry): void {
    entry.gone = true;
    this.#byName.delete(entry.stored.spec.name);
    this.#byUid.delete(entry.stored.uid);
    this.routes.remove(entry.stored.uid);
    this.reservedRoutes.remove(entry.stored.uid);
    this.queueTakers.remove(entry.stored.uid);
  }

  /** Brings both tables in step with the entry: the served triggers lead somewhere, the wanted ones are reserved. */
  syncRoutes(entry: FunctionEntry): void {
    const { uid, spec, served, generation } = entry.stored;
    const wanted = buildRoutes(uid, spec);
    this.queueTakers.set(uid, served === undefined ? [spec] : [spec, served.spec]);
    // Nearly always what is wanted serves: ten thousand functions are read at a start.
    const serving = served === undefined || served.generation === generation ? wanted : buildRoutes(uid, served.spec);
    this.routes.set(uid, serving);
    this.reservedRoutes.set(uid, serving === wanted ? wanted : [...wanted, ...serving]);
  }
}
