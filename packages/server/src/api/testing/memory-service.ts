import { type FunctionSpec, KsError } from "@kube-serverless/contracts";
import { satisfiesIfMatch } from "../../functions/if-match.ts";
import { buildEtag, type FunctionService, type FunctionView, type IfMatch } from "../../functions/port.ts";

/** The use-cases without replicas or a disk: every function is running at once. For tests of what stands in front of them. */
export class MemoryFunctionService implements FunctionService {
  readonly #views = new Map<string, FunctionView>();
  readonly #codes = new Map<string, string>();
  #uids = 0;

  list(): FunctionView[] {
    return [...this.#views.values()].sort((left, right) => (left.stored.spec.name < right.stored.spec.name ? -1 : 1));
  }

  get(name: string): FunctionView {
    const view = this.#views.get(name);
    if (view === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return view;
  }

  async readCode(name: string): Promise<string> {
    return this.#codes.get(this.get(name).stored.spec.name) ?? "";
  }

  async create(spec: FunctionSpec): Promise<FunctionView> {
    if (this.#views.has(spec.name)) throw new KsError("FUNCTION_EXISTS", { details: { name: spec.name } });
    return this.#put(spec, `u${++this.#uids}`, 1);
  }

  async update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    const { stored } = this.#check(name, ifMatch);
    return this.#put(spec, stored.uid, stored.generation + 1);
  }

  async delete(name: string, ifMatch: IfMatch): Promise<void> {
    this.#check(name, ifMatch);
    this.#views.delete(name);
  }

  #check(name: string, ifMatch: IfMatch): FunctionView {
    const view = this.get(name);
    if (!satisfiesIfMatch(ifMatch, buildEtag(view.stored))) throw new KsError("PRECONDITION_FAILED");
    return view;
  }

  #put({ code, ...spec }: FunctionSpec, uid: string, generation: number): FunctionView {
    const status = { state: "deploying", observedGeneration: 0, revision: 0 } as const;
    const stored = { uid, createdAt: "2026-01-15T10:30:00.000Z", generation, revision: generation, spec, status };
    const running = {
      ...status,
      state: "running",
      observedGeneration: generation,
      revision: generation,
      runtimeVersion: "18.20.8",
    } as const;
    this.#codes.set(spec.name, code);
    this.#views.set(spec.name, { stored: { ...stored, status: running }, replicas: 2, readyReplicas: 1, lastInvocation: undefined });
    return { stored, replicas: 0, readyReplicas: 0, lastInvocation: undefined };
  }
}
