import { KsError } from "@kube-serverless/contracts";
import type { StoredFunction } from "../store/port.ts";
import { buildEtag, type IfMatch } from "./port.ts";

/** True when a change may go on: no condition, `*`, or a list that holds the tag by strong comparison (RFC 9110, 13.1.1). */
export function satisfiesIfMatch(ifMatch: IfMatch, etag: string): boolean {
  if (ifMatch === undefined || ifMatch.trim() === "*") return true;
  // A weak tag never matches; what is no tag at all neither.
  const tags: readonly string[] = ifMatch.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.includes(etag);
}

/** @throws KsError `PRECONDITION_FAILED` */
export function checkIfMatch(stored: Pick<StoredFunction, "uid" | "generation">, ifMatch: IfMatch): void {
  const current = buildEtag(stored);
  if (!satisfiesIfMatch(ifMatch, current)) throw new KsError("PRECONDITION_FAILED", { details: { ifMatch, current } });
}
