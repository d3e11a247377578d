import { randomUUID } from "node:crypto";
import { type FunctionSpec, KsError } from "@kube-serverless/contracts";
import { defined } from "../defined.ts";
import type { DeclaredFunction, DeclaredFunctions } from "../store/declared.ts";
import { type HoldEnd, type HoldRequest, type PathHolds } from "./path-holds.ts";
import type { FunctionRegistry } from "./registry.ts";
import { buildRoutes } from "./route-table.ts";
import { refuseTakenPath } from "./spec-refusals.ts";

export interface PathKeeperOptions {
  /** Those that this gateway keeps, where it is the one that keeps them for all. */
  holds: PathHolds;
  registry: FunctionRegistry;
  functions: Pick<DeclaredFunctions, "read">;
  /** Makes a question that always the same gateway answers, this one or another. */
  askOne<Params>(name: string, answer: (params: Params) => void | Promise<void>): (params: Params) => void | Promise<void>;
}

/** Lets one write at a time have a path, over all gateways. */
export class PathKeeper {
  readonly #options: PathKeeperOptions;
  readonly #begin: (request: HoldRequest) => void | Promise<void>;
  readonly #end: (end: HoldEnd) => void | Promise<void>;

  constructor(options: PathKeeperOptions) {
    this.#options = options;
    const { holds, askOne } = options;
    this.#begin = askOne("begin path hold", (request: HoldRequest) => holds.begin(request));
    this.#end = askOne("end path hold", (end: HoldEnd) => this.#endHere(end));
  }

  /**
   * Writes while nobody else can take the paths of the spec. `uid` is the name for a function that is being made.
   * @throws KsError `ROUTE_CONFLICT`
   */
  async holding<W extends DeclaredFunction | undefined>(uid: string, spec: FunctionSpec, write: () => Promise<W>): Promise<W> {
    const routes = buildRoutes(uid, spec);
    if (routes.length === 0) return write();
    const { holds, registry } = this.#options;
    const { name, triggers } = spec;
    refuseTakenPath(registry.reservedRoutes, routes);
    const id = randomUUID();
    const request = { id, uid, name, triggers };
    let written: W | undefined;
    try {
      await this.#begin(request);
    } catch (error) {
      if (error instanceof KsError && error.code === "ROUTE_CONFLICT") throw error;
      // While gateways come and go nobody may be there to ask. What two of them let in then is settled by its status.
      holds.begin(request);
    }
    try {
      return (written = await write());
    } finally {
      const end = { id, ...defined({ written: written && { uid: written.uid, name, generation: written.generation } }) };
      holds.end(end);
      await Promise.resolve(this.#end(end)).catch(() => undefined);
    }
  }

  async #endHere(end: HoldEnd): Promise<void> {
    const { holds, registry, functions } = this.#options;
    const { written } = end;
    // Another gateway wrote it: what the watch has not said yet is asked for.
    const known = written === undefined ? undefined : registry.byUid(written.uid);
    if (written !== undefined && (known === undefined || known.stored.generation < written.generation)) {
      await functions.read(written.name).catch(() => undefined);
    }
    holds.end(end);
  }
}
