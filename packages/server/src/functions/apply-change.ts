import type { SpecWithoutCode, StoredFunction } from "../store/port.ts";

/** A function with another spec: `build` is true where that has to load first, else it serves at once. */
export interface AppliedChange {
  stored: StoredFunction;
  build: boolean;
}

export interface SpecChange {
  spec: SpecWithoutCode;
  generation: number;
  revision: number;
}

/** Replicas, triggers and limits apply at once where this revision serves; a new one, or one that is still built, deploys. */
export function applyChange(before: StoredFunction, { spec, generation, revision }: SpecChange): AppliedChange {
  const { reason: _reason, message: _message, ...status } = before.status;
  if (before.served?.revision === revision) {
    const served = { revision, generation, spec };
    return {
      stored: { ...before, generation, revision, spec, served, status: { ...status, state: "running", observedGeneration: generation } },
      build: false,
    };
  }
  return { stored: { ...before, generation, revision, spec, status: { ...status, state: "deploying" } }, build: true };
}
