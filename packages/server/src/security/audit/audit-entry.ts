import type { ErrorCode, Resource, Verb } from "@kube-serverless/contracts";
import type { Principal } from "../principal.ts";

/** Something that was changed, or refused. */
export interface AuditEvent {
  /** Undefined for who did not say, or did not prove, who they are. */
  who: Principal | undefined;
  verb: Verb;
  resource: Resource;
  /** Name of the function, id of the key, and so on, as the caller gave it. */
  target?: string | undefined;
  /** Address of the caller, as the platform trusts it. */
  from: string;
  requestId: string;
  /** Why it was refused; undefined for what was done. */
  refused?: ErrorCode | undefined;
  /** What is particular to it, such as the new generation; never secrets, code or values of the environment. */
  details?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** Longer parts are cut: whatever a caller sends, a line stays readable. */
const MAX_TEXT = 256;
// Beside what JSON escapes: controls that terminals obey, line ends that only some readers know, and what turns text round.
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** One line of the audit log, with its end; `suppressed` counts what was left out before it. */
export function encodeAuditLine(event: AuditEvent, atMs: number, suppressed: number): string {
  const { who, verb, resource, target, from, requestId, refused, details } = event;
  const line = JSON.stringify({
    time: new Date(atMs).toISOString(),
    who: who === undefined ? null : { subject: cut(who.subject), kind: who.kind, name: cut(who.name) },
    verb,
    resource,
    target: cut(target),
    outcome: refused === undefined ? "done" : "refused",
    code: refused,
    from: cut(from),
    requestId: cut(requestId),
    details: details === undefined ? undefined : Object.fromEntries(Object.entries(details).map(([key, value]) => [key, cut(value)])),
    suppressed: suppressed === 0 ? undefined : suppressed,
  });
  return `${line.replace(UNSAFE, escape)}\n`;
}

function cut<T>(value: T): T | string {
  return typeof value === "string" && value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
}

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
