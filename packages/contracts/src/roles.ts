import { z } from "zod";
import { matchesAnyPattern } from "./function-pattern.ts";

export const ROLES = ["admin", "developer", "invoker", "viewer"] as const;

export const Role = z.enum(ROLES).meta({ description: "What a caller may do: see the table of roles" });
export type Role = z.infer<typeof Role>;

/** `create` is also what calls a function and publishes a message, as in Kubernetes. */
export const VERBS = ["get", "list", "create", "update", "delete"] as const;
export type Verb = (typeof VERBS)[number];

/**
 * How far a grant reaches: `function`, to the functions its patterns cover; `platform`, only where it is for all functions, as who is
 * confined to some must not reach beyond them this way; `shared`, whatever the patterns.
 */
export type ResourceScope = "function" | "platform" | "shared";

interface ResourceRules {
  scope: ResourceScope;
  help: string;
  verbs: Partial<Record<Verb, readonly Role[]>>;
}

const EVERYBODY: readonly Role[] = ROLES;
const READERS: readonly Role[] = ["admin", "developer", "viewer"];
const MAKERS: readonly Role[] = ["admin", "developer"];
const ADMINS: readonly Role[] = ["admin"];

/** Who may do what: the one table that code, tests and documentation are made from. */
export const ACCESS = {
  functions: {
    scope: "function",
    help: "The function and its status",
    verbs: { get: EVERYBODY, list: EVERYBODY, create: MAKERS, update: MAKERS, delete: MAKERS },
  },
  "functions/code": { scope: "function", help: "`code` of a function that is read", verbs: { get: READERS } },
  "functions/environment": {
    scope: "function",
    help: "Values in `environment`, which others see masked",
    verbs: { get: MAKERS },
  },
  "functions/invoke": { scope: "function", help: "Calls, by whatever way", verbs: { create: ["admin", "developer", "invoker"] } },
  "functions/logs": { scope: "function", help: "What the function printed", verbs: { get: READERS } },
  "functions/metrics": { scope: "function", help: "Counts, times and costs", verbs: { get: READERS } },
  "functions/cron": { scope: "function", help: "Cron triggers, and what became of their runs", verbs: { get: READERS } },
  "functions/scaling": { scope: "function", help: "Replicas, and why so many", verbs: { get: READERS } },
  queues: { scope: "function", help: "How full a queue is, for who reaches every function that takes from it", verbs: { get: READERS } },
  "queues/messages": {
    scope: "function",
    help: "Publishing, for who reaches every function that takes from the queue",
    verbs: { create: ["admin", "developer", "invoker"] },
  },
  runtimes: { scope: "shared", help: "The runtimes that there are", verbs: { list: EVERYBODY } },
  apikeys: {
    scope: "platform",
    help: "API keys; never their secrets",
    verbs: { get: ADMINS, list: ADMINS, create: ADMINS, update: ADMINS, delete: ADMINS },
  },
  metrics: { scope: "platform", help: "`/metrics`, of all functions together", verbs: { get: READERS } },
  readiness: { scope: "platform", help: "What `/ready` says beyond the state: drivers, pools, what is degraded", verbs: { get: READERS } },
} as const satisfies Record<string, ResourceRules>;

export type Resource = keyof typeof ACCESS;

/** One role over some functions. */
export interface Grant {
  readonly role: Role;
  /** Patterns of names; `*` for all. */
  readonly functions: readonly string[];
}

/** What a decision needs of a caller. */
export interface Granted {
  readonly grants: readonly Grant[];
}

/**
 * `unauthenticated`: 401, whatever exists. `forbidden`: 403, to who may know that it exists. `not-found`: 404, answered exactly as if it
 * did not exist.
 */
export type Access = "allowed" | "unauthenticated" | "forbidden" | "not-found";

/**
 * hot: whether a caller (undefined: anonymous) may do this; `functionName` is needed for resources of a function, but for `list`, whose
 * result is filtered by `maySee`.
 */
export function decideAccess(caller: Granted | undefined, verb: Verb, resource: Resource, functionName?: string): Access {
  if (caller === undefined) return "unauthenticated";
  const { scope } = ACCESS[resource];
  for (const grant of caller.grants) {
    if (reaches(grant, scope, functionName) && isGranted(grant.role, verb, resource)) return "allowed";
  }
  // Creating says nothing of what exists: a name out of reach is refused whether it is taken or not.
  const isHidden = scope === "function" && functionName !== undefined && !(resource === "functions" && verb === "create");
  return isHidden && !maySee(caller, functionName) ? "not-found" : "forbidden";
}

/** Whether lists and conflicts may name this function to the caller. */
export function maySee(caller: Granted, functionName: string): boolean {
  for (const grant of caller.grants)
    if (isGranted(grant.role, "get", "functions") && matchesAnyPattern(grant.functions, functionName)) return true;
  return false;
}

/**
 * Access to a queue, which has no owner: what it holds may go to any function that takes from it, so the caller must reach them all.
 * One that no function takes from is only for who reaches all functions.
 */
export function decideQueueAccess(
  caller: Granted | undefined,
  verb: Verb,
  resource: "queues" | "queues/messages",
  takers: readonly string[],
): Access {
  if (caller === undefined) return "unauthenticated";
  if (takers.length === 0) return decideUnclaimed(caller, verb, resource);
  let worst: Access = "allowed";
  for (const name of takers) {
    const access = decideAccess(caller, verb, resource, name);
    if (access === "not-found") return access;
    if (access !== "allowed") worst = access;
  }
  return worst;
}

/** The strongest role that a caller has over a function, for the function to know; undefined for none. */
export function roleOver(caller: Granted, functionName: string): Role | undefined {
  return ROLES.find((role) => caller.grants.some((grant) => grant.role === role && matchesAnyPattern(grant.functions, functionName)));
}

function decideUnclaimed(caller: Granted, verb: Verb, resource: Resource): Access {
  const wide = caller.grants.filter(isForAll);
  if (wide.length === 0) return "not-found";
  return wide.some(({ role }) => isGranted(role, verb, resource)) ? "allowed" : "forbidden";
}

function isGranted(role: Role, verb: Verb, resource: Resource): boolean {
  const { verbs }: ResourceRules = ACCESS[resource];
  return verbs[verb]?.includes(role) ?? false;
}

function reaches(grant: Grant, scope: ResourceScope, functionName: string | undefined): boolean {
  if (scope === "platform") return isForAll(grant);
  if (scope === "shared" || functionName === undefined) return true;
  return matchesAnyPattern(grant.functions, functionName);
}

function isForAll(grant: Grant): boolean {
  return grant.functions.includes("*");
}
