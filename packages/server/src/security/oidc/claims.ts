import type { ClaimRule, Grant } from "@kube-serverless/contracts";

export type Claims = Readonly<Record<string, unknown>>;

/** What the rules give to who has these claims. */
export function grantsOf(rules: readonly ClaimRule[], claims: Claims): Grant[] {
  return rules
    .filter(({ when }) => Object.entries(when).every(([claim, value]) => holds(claims, claim, value)))
    .map(({ role, functions }) => ({ role, functions }));
}

function holds(claims: Claims, claim: string, wanted: string): boolean {
  const values = valuesOf(claim, findClaim(claims, claim));
  return wanted === "*" ? values.length > 0 : values.includes(wanted);
}

/** The claim of that whole name, as some issuers use addresses for names; else the path that its dots make. */
function findClaim(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function valuesOf(claim: string, value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap((item: unknown) => valuesOf("", item));
  // RFC 8693, 4.2: scopes stand in one string, with spaces between them.
  if (typeof value === "string") return claim === "scope" || claim === "scp" ? value.split(" ").filter((part) => part !== "") : [value];
  if (typeof value === "number" || typeof value === "boolean") return [String(value)];
  return [];
}
