import assert from "node:assert/strict";
import { after } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import type { Shim, Specialisation } from "./support.ts";

/** Loads a function into a replica of its own. */
export type LoadShim = (code: string, specialisation?: Partial<Specialisation>) => Promise<Shim>;

/** Replicas of one language that end with their suite. */
export function useShims(
  language: Pick<ShimLanguage, "start">,
  defaults: Pick<Specialisation, "handler"> & Partial<Specialisation>,
): LoadShim {
  const shims: Shim[] = [];
  after(() => Promise.all(shims.map((shim) => shim.stop())));
  return async (code, specialisation = {}) => {
    const shim = await language.start(code);
    shims.push(shim);
    const frame = await shim.specialise({ code, ...defaults, ...specialisation });
    assert.equal(frame.kind, FrameType.READY, JSON.stringify(frame.meta));
    return shim;
  };
}
