import { z } from "zod";
import { ALL_FUNCTIONS, FunctionPatterns } from "./function-pattern.ts";
import { MaxConcurrency, RateLimit } from "./limits.ts";
import { Role } from "./roles.ts";

const DEFAULT_SKEW_SECONDS = 30;

/** Names that subjects of other kinds begin with. */
const TAKEN_NAMES = new Set(["admin", "key", "system"]);

/** Keys and discovery travel over it, so whoever can change them can be anybody: HTTPS, but for tests on this machine. */
const SafeUrl = z.string().refine(isSafeUrl, "must be an https address (http only on loopback), without a query or fragment");

export const ClaimRule = z
  .strictObject({
    when: z
      .record(z.string().min(1), z.string().min(1))
      .refine((when) => Object.keys(when).length > 0, "must name at least one claim")
      .meta({
        description: "Claims that must all hold: equal, or one of a list; `*` for any value. Nested ones with dots, `realm_access.roles`",
        examples: [{ groups: "platform-team" }],
      }),
    role: Role,
    functions: FunctionPatterns.default([...ALL_FUNCTIONS]),
  })
  .meta({ description: "Gives a role to tokens with these claims." });
export type ClaimRule = z.infer<typeof ClaimRule>;

export const OidcIssuer = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, "must be lower-case letters, digits and -, a letter first")
    .refine((name) => !TAKEN_NAMES.has(name), "is a name that the platform uses")
    .meta({ description: "Begins the subject of its callers, in limits and in the audit log", examples: ["keycloak"] }),
  issuer: SafeUrl.meta({ description: "Exactly the `iss` of its tokens", examples: ["https://login.example.com/realms/main"] }),
  audiences: z
    .array(z.string().min(1))
    .min(1)
    .meta({ description: "`aud` must hold one of them", examples: [["kube-serverless"]] }),
  jwksUrl: SafeUrl.optional().meta({ description: "Where its keys are; found by discovery where it is left out" }),
  skewSeconds: z.int().min(0).max(300).default(DEFAULT_SKEW_SECONDS).meta({ description: "How far its clock may be off" }),
  rules: z.array(ClaimRule).default([]).meta({ description: "Roles by claims; all that apply count" }),
  rateLimit: RateLimit.optional().meta({ description: "Of each of its callers" }),
  maxConcurrency: MaxConcurrency.optional(),
});
export type OidcIssuer = z.infer<typeof OidcIssuer>;

/** The file that `--oidc-config` names. */
export const OidcConfig = z
  .strictObject({ issuers: z.array(OidcIssuer).min(1).max(16) })
  .refine(({ issuers }) => isUnique(issuers.map(({ name }) => name)), { path: ["issuers"], message: "must have different names" })
  .refine(({ issuers }) => isUnique(issuers.map(({ issuer }) => issuer)), { path: ["issuers"], message: "must be different issuers" })
  .meta({ description: "Issuers whose tokens prove who calls." });
export type OidcConfig = z.infer<typeof OidcConfig>;

/** Whether keys may be fetched from there. */
export function isSafeUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return false;
  if (url.protocol === "https:") return true;
  return url.protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
}

function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}
