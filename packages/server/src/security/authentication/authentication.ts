import { KsError } from "@kube-serverless/contracts";
import type { Principal } from "../principal.ts";
import type { CredentialHeader } from "./credentials.ts";

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

/** Takes what the function must not see out of the headers of its event. */
export function stripCredentials(headers: Record<string, string>, { strip }: Authentication): void {
  for (const name of strip) delete headers[name];
}
