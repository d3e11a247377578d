import {
  type Access,
  decideAccess,
  type ErrorCode,
  type FunctionAuth,
  KsError,
  type Resource,
  type Verb,
} from "@kube-serverless/contracts";
import { type Authentication, buildAuthenticationError } from "./authentication/authentication.ts";

/**
 * hot: whether a call may reach a function; `auth` is undefined for one that does not exist. Who may not know the difference gets the same
 * answer for both: 401 the anonymous, 404 the others.
 */
export function decideCall(authentication: Authentication, auth: FunctionAuth | undefined, functionName: string): Access {
  if (auth === "none") return "allowed";
  if (authentication.principal === undefined) return "unauthenticated";
  const access = decideAccess(authentication.principal, "create", "functions/invoke", functionName);
  return auth === undefined ? "not-found" : access;
}

/** What was asked for, and what the answer is when it does not exist. */
export interface Asked {
  verb: Verb;
  resource: Resource;
  /** Code of the answer for what does not exist. */
  notFound: ErrorCode;
}

/** The answer to what is not allowed. A 404 is word for word that of what does not exist. */
export function buildAccessError(access: Exclude<Access, "allowed">, authentication: Authentication, asked: Asked): KsError {
  if (access === "unauthenticated") return buildAuthenticationError(authentication);
  if (access === "not-found") return new KsError(asked.notFound);
  const who = authentication.principal?.name ?? "anonymous";
  return new KsError("FORBIDDEN", {
    message: `Forbidden: ${who} may not ${asked.verb} ${asked.resource}`,
    details: { verb: asked.verb, resource: asked.resource },
  });
}
