import {
  type Access,
  decideAccess,
  decideQueueAccess,
  type ErrorCode,
  type FunctionAuth,
  KsError,
  maySee,
  type Resource,
  type Verb,
} from "@kube-serverless/contracts";
import type { AuditEvent } from "./audit/audit-entry.ts";
import type { AuditLog } from "./audit/audit-log.ts";
import { ANONYMOUS, type Authentication } from "./authentication/authentication.ts";
import type { Authenticator } from "./authentication/authenticator.ts";
import type { Credentials } from "./authentication/credentials.ts";
import { decideCall } from "./access.ts";

export interface AccessControlOptions {
  /** Undefined where the platform has no authentication: everybody may do everything then. */
  authenticator: Authenticator | undefined;
  audit: Pick<AuditLog, "add">;
}

/** What is told of a request beside who makes it. */
export interface RequestOrigin {
  /** Address of the caller, as the platform trusts it. */
  from: string;
  requestId: string;
}

/** Who may do what, on every door; what is changed and what is refused goes to the audit log. */
export class AccessControl {
  readonly #authenticator: Authenticator | undefined;
  readonly #audit: Pick<AuditLog, "add">;

  constructor({ authenticator, audit }: AccessControlOptions) {
    this.#authenticator = authenticator;
    this.#audit = audit;
  }

  /** Whether callers are asked who they are. */
  get isOn(): boolean {
    return this.#authenticator !== undefined;
  }

  /** hot: never rejects. */
  authenticate(credentials: Credentials): Authentication | Promise<Authentication> {
    return this.#authenticator?.authenticate(credentials) ?? ANONYMOUS;
  }

  /** Calls it from now on when a key has changed: who was let in by it may be so no more. */
  whenKeysChange(tell: () => void): void {
    this.#authenticator?.whenKeysForgotten(tell);
  }

  decide(authentication: Authentication, verb: Verb, resource: Resource, functionName?: string): Access {
    return this.isOn ? decideAccess(authentication.principal, verb, resource, functionName) : "allowed";
  }

  /** hot: whether a call may reach a function; `auth` is undefined for one that does not exist. */
  decideCall(authentication: Authentication, auth: FunctionAuth | undefined, functionName: string): Access {
    return decideCall(authentication, auth, functionName);
  }

  decideQueue(authentication: Authentication, verb: Verb, resource: "queues" | "queues/messages", takers: readonly string[]): Access {
    return this.isOn ? decideQueueAccess(authentication.principal, verb, resource, takers) : "allowed";
  }

  /** Whether lists and conflicts may name this function. */
  maySee({ principal }: Authentication, functionName: string): boolean {
    return !this.isOn || (principal !== undefined && maySee(principal, functionName));
  }

  noteChange(
    authentication: Authentication,
    change: Pick<AuditEvent, "verb" | "resource" | "target" | "details">,
    origin: RequestOrigin,
  ): void {
    this.#audit.add({ who: authentication.principal, ...change, ...origin });
  }

  noteRefusal(
    authentication: Authentication,
    refusal: Pick<AuditEvent, "verb" | "resource" | "target"> & { refused: ErrorCode },
    origin: RequestOrigin,
  ): void {
    this.#audit.add({ who: authentication.principal, ...refusal, ...origin });
  }
}

/** What API keys are answered by a platform that asks nobody for one. */
export function noKeysError(): KsError {
  return new KsError("ROUTE_NOT_FOUND", { message: "Not found: this server asks nobody for a key; start it with --auth" });
}
