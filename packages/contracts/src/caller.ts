import type { Role } from "./roles.ts";

/** What proved who calls. */
export type CallerKind = "api-key" | "admin-key" | "oidc";

/** `context.caller` of a call whose caller proved who it is; left out for others. */
export interface Caller {
  /** Stable and unique: `key:<id>`, `admin`, or `<issuer's name>:<sub>`. */
  subject: string;
  kind: CallerKind;
  /** Strongest role over this function; null for a known caller without one, who may only be here as the function is public. */
  role: Role | null;
  /** For people: a key's name, or what the token says. */
  name?: string;
  /** The verified claims of a token. */
  claims?: Readonly<Record<string, unknown>>;
}
