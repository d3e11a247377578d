import { ACCESS, type Resource, type Role, type Verb } from "../../../../packages/contracts/src/index.ts";

/**
 * What the table of roles says of a caller, worked out here once more and from the table's data alone, so that the code that decides is
 * not asked about itself.
 */
export type Verdict = "allowed" | "forbidden" | "hidden" | "unauthenticated";

/** What a caller was given; undefined: nobody in particular. */
export type Grantee = { role: Role; functions: readonly string[] } | undefined;

interface Rules {
  scope: "function" | "platform" | "shared";
  verbs: Partial<Record<Verb, readonly Role[]>>;
}

const rulesOf = (resource: Resource): Rules => ACCESS[resource];

export function covers(grantee: NonNullable<Grantee>, name: string): boolean {
  return grantee.functions.some((pattern) => new RegExp(`^${pattern.replaceAll("*", ".*")}$`, "s").test(name));
}

const isForAll = (grantee: NonNullable<Grantee>): boolean => grantee.functions.includes("*");
const hasVerb = ({ role }: NonNullable<Grantee>, verb: Verb, resource: Resource): boolean =>
  rulesOf(resource).verbs[verb]?.includes(role) === true;

/** Whether the caller may know that there is such a function. */
export function sees(grantee: Grantee, name: string): boolean {
  return grantee !== undefined && hasVerb(grantee, "get", "functions") && covers(grantee, name);
}

/** @param name of the function, for resources of one */
export function judge(grantee: Grantee, verb: Verb, resource: Resource, name?: string): Verdict {
  if (grantee === undefined) return "unauthenticated";
  const { scope } = rulesOf(resource);
  const reaches = scope === "platform" ? isForAll(grantee) : scope === "shared" || name === undefined || covers(grantee, name);
  if (reaches && hasVerb(grantee, verb, resource)) return "allowed";
  const isCreation = verb === "create" && resource === "functions";
  return scope === "function" && name !== undefined && !isCreation && !sees(grantee, name) ? "hidden" : "forbidden";
}

/** Who reaches every function that takes from a queue reaches the queue; one that nobody takes from is for who reaches all. */
export function judgeQueue(grantee: Grantee, verb: Verb, resource: "queues" | "queues/messages", takers: readonly string[]): Verdict {
  if (grantee === undefined) return "unauthenticated";
  if (takers.length === 0 && !isForAll(grantee)) return "hidden";
  const verdicts =
    takers.length === 0 ? [judge(grantee, verb, resource, "any")] : takers.map((name) => judge(grantee, verb, resource, name));
  return (["hidden", "forbidden"] as const).find((verdict) => verdicts.includes(verdict)) ?? "allowed";
}
