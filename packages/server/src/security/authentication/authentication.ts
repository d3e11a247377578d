import { KsError } from "@kube-serverless/contracts";
import type { Principal } from "../principal.ts";
import type { CredentialHeader, Credentials } from "./credentials.ts";

export type RefusalReason = "missing" | "unknown" | "mistyped" | "expired" | "invalid" | "issuer-away";

/** Who calls, and which headers must not reach a function. */
export type Authentication = {
  readonly strip: readonly CredentialHeader[];
} & (
  | { readonly principal: Principal }
  /** Fit for functions that are open to all alone. */
  | { readonly principal: undefined; readonly reason: RefusalReason; readonly problem: string }
);

export const STRIP_NOTHING: readonly CredentialHeader[] = [];

/** Nobody has said who they are. */
export const ANONYMOUS: Authentication = {
  principal: undefined,
  reason: "missing",
  problem: "send an API key or a token as Authorization: Bearer, or a key as X-API-Key",
  strip: STRIP_NOTHING,
};

const REALM = 'Bearer realm="kube-serverless"';

/** The answer where a caller must be known: 401 `UNAUTHENTICATED` with `WWW-Authenticate` (RFC 6750, 3). */
export function buildAuthenticationError(authentication: Authentication): KsError {
  if (authentication.principal !== undefined) return new KsError("INTERNAL", { message: "An authenticated caller was refused as unknown" });
  const { reason, problem } = authentication;
  const challenge = reason === "missing" ? REALM : `${REALM}, error="invalid_token"`;
  return new KsError("UNAUTHENTICATED", { message: `Authentication required: ${problem}`, headers: { "WWW-Authenticate": challenge } });
}

/** hot: adds to the headers of an event what of the credentials the function may see. */
export function passCredentials(headers: Record<string, string>, credentials: Credentials, { strip }: Authentication): void {
  const { authorization, "x-api-key": apiKey } = credentials;
  if (authorization !== undefined && !strip.includes("authorization")) headers["authorization"] = authorization;
  if (apiKey !== undefined && !strip.includes("x-api-key")) headers["x-api-key"] = apiKey;
}
