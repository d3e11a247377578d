import type { Caller, CallerKind, Grant, RateLimit } from "@kube-serverless/contracts";
import { roleOver } from "@kube-serverless/contracts";

/** Someone who proved who they are. Shared between calls: never changed. */
export interface Principal {
  /** Stable and unique: `key:<id>`, `admin`, or `<issuer's name>:<sub>`. */
  readonly subject: string;
  readonly kind: CallerKind;
  /** For people and the audit log. */
  readonly name: string;
  readonly grants: readonly Grant[];
  /** The credential's own end on the wall clock; undefined for none. */
  readonly expiresAtMs: number | undefined;
  /** Limits of this caller alone; undefined: what is configured for callers in general. */
  readonly rateLimit: RateLimit | undefined;
  readonly maxConcurrency: number | undefined;
  /** The verified claims of a token. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
}

/** What the function learns of its caller, as `context.caller`. */
export function buildCaller(principal: Principal, functionName: string): Caller {
  const { subject, kind, name, claims } = principal;
  const caller: Caller = { subject, kind, role: roleOver(principal, functionName) ?? null, name };
  return claims === undefined ? caller : { ...caller, claims };
}
