import { type Access, type Caller, type FunctionAuth, KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { Admission } from "../dispatch/call.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import { buildAccessError } from "../security/access.ts";
import type { AccessControl, RequestOrigin } from "../security/access-control.ts";
import { type Authentication, buildAuthenticationError } from "../security/authentication/authentication.ts";
import type { Credentials } from "../security/authentication/credentials.ts";
import { buildRateError, enterAll, leaveAll } from "../security/limits/admission.ts";
import type { CallLimiters, CallLimits } from "../security/limits/call-limits.ts";
import { buildRateLimitHeaders } from "../security/limits/rate-limit-headers.ts";
import { buildCaller, type Principal } from "../security/principal.ts";

export interface CallAdmissionOptions {
  clock: Clock;
  access: AccessControl;
  limits: CallLimits;
  /** @throws KsError `BUDGET_EXCEEDED` */
  checkBudget(entry: FunctionEntry): void;
  /** A call was refused for a rate or a budget: it counts under the code. */
  onRefused(entry: FunctionEntry, error: KsError): void;
}

/** A function that is asked for, and by which door. */
export interface AskedFunction {
  entry: FunctionEntry;
  /** What its spec says of this door; undefined: nothing. */
  auth: FunctionAuth | undefined;
  /** The answer where no such function is. */
  notFound(): KsError;
}

/** What is the same for every call of one caller to one function. */
interface Standing {
  principal: Principal;
  entry: FunctionEntry;
  /** Where the function asks for a caller. */
  access: Access;
  /** What the function is told. */
  caller: Caller;
  limiters: CallLimiters | undefined;
}

/** What a call has to pass before its function is touched: who calls, the day's budget, rates and calls at once. */
export class CallAdmission {
  readonly #options: CallAdmissionOptions;
  readonly #standings = new WeakMap<Principal, WeakMap<FunctionEntry, Standing>>();
  /** The one that was looked up last: a call asks for it twice, and a busy caller calls again. */
  #last: Standing | undefined;

  constructor(options: CallAdmissionOptions) {
    this.#options = options;
  }

  /** hot: who calls; at once but for tokens that were not seen for a minute. Never rejects. */
  identify(credentials: Credentials): Authentication | Promise<Authentication> {
    return this.#options.access.authenticate(credentials);
  }

  /** hot: who may call, within the limits; undefined where there is nothing to give back. @throws KsError the refusal */
  admit(asked: AskedFunction, authentication: Authentication, from: () => string, requestId: string): Admission | undefined {
    const { entry } = asked;
    const { principal } = authentication;
    const standing = principal === undefined ? undefined : this.#standingOf(principal, entry, authentication);
    this.#authorize(asked, standing, authentication, from, requestId);
    const { access, checkBudget, clock, limits } = this.#options;
    const { spec } = entry.stored.served ?? entry.stored;
    try {
      checkBudget(entry);
      const nowMs = clock.monotonicMs();
      const limiters = limits.of(entry, spec, principal, from, nowMs, standing?.limiters);
      if (standing !== undefined) standing.limiters = limiters;
      if (limiters === undefined) return undefined;
      enter(limiters, nowMs);
      return new LimitedCall(limiters, clock);
    } catch (error) {
      if (error instanceof KsError) this.#options.onRefused(entry, error);
      if (error instanceof KsError && access.isOn) noteLimit(access, authentication, spec.name, error, { from: from(), requestId });
      throw error;
    }
  }

  /** hot: what the function is told of its caller. */
  callerOf(authentication: Authentication, entry: FunctionEntry): Caller | undefined {
    const { principal } = authentication;
    return principal === undefined ? undefined : this.#standingOf(principal, entry, authentication).caller;
  }

  /** What a caller is told where nothing is, so that nobody learns which names and paths are hidden. */
  explainMiss(error: KsError, authentication: Authentication): KsError {
    const isUnknown = this.#options.access.isOn && authentication.principal === undefined;
    return isUnknown ? buildAuthenticationError(authentication) : error;
  }

  /** Whether a caller may learn that this function is there: who may see it, or anybody where it is open to all. */
  mayKnow({ entry, auth }: Pick<AskedFunction, "entry" | "auth">, authentication: Authentication): boolean {
    const { access } = this.#options;
    return !access.isOn || auth === "none" || access.maySee(authentication, entry.stored.spec.name);
  }

  #standingOf(principal: Principal, entry: FunctionEntry, authentication: Authentication): Standing {
    const last = this.#last;
    if (last?.principal === principal && last.entry === entry) return last;
    let ofPrincipal = this.#standings.get(principal);
    if (ofPrincipal === undefined) this.#standings.set(principal, (ofPrincipal = new WeakMap<FunctionEntry, Standing>()));
    let standing = ofPrincipal.get(entry);
    if (standing === undefined) ofPrincipal.set(entry, (standing = this.#buildStanding(principal, entry, authentication)));
    this.#last = standing;
    return standing;
  }

  #buildStanding(principal: Principal, entry: FunctionEntry, authentication: Authentication): Standing {
    const { name } = entry.stored.spec;
    const access = this.#options.access.decideCall(authentication, "required", name);
    return { principal, entry, access, caller: buildCaller(principal, name), limiters: undefined };
  }

  #authorize(
    { entry, auth, notFound }: AskedFunction,
    standing: Standing | undefined,
    authentication: Authentication,
    from: () => string,
    requestId: string,
  ): void {
    const { access } = this.#options;
    if (!access.isOn) {
      if (auth === "required") throw new KsError("UNAUTHENTICATED", { message: NO_AUTHENTICATION });
      return;
    }
    if (auth === "none") return;
    const { name } = entry.stored.spec;
    const decision = standing?.access ?? access.decideCall(authentication, "required", name);
    if (decision === "allowed") return;
    const asked = { verb: "create", resource: "functions/invoke" } as const;
    const error =
      decision === "not-found" ? notFound() : buildAccessError(decision, authentication, { ...asked, notFound: "FUNCTION_NOT_FOUND" });
    const refused = decision === "not-found" ? "FORBIDDEN" : error.code;
    access.noteRefusal(authentication, { ...asked, target: name, refused }, { from: from(), requestId });
    throw error;
  }
}

const NO_AUTHENTICATION =
  "Authentication required: this function asks for a caller who may invoke it, and the server runs without --auth, so nobody can prove to be one";

function enter(set: CallLimiters, nowMs: number): void {
  const refusal = enterAll(set, nowMs);
  if (refusal !== undefined) throw buildRateError(set, refusal, buildRateLimitHeaders(set, nowMs));
}

function noteLimit(access: AccessControl, authentication: Authentication, target: string, error: KsError, origin: RequestOrigin): void {
  access.noteRefusal(authentication, { verb: "create", resource: "functions/invoke", target, refused: error.code }, origin);
}

/** A call that was let through limits: its places are given back once, however it ends. */
class LimitedCall implements Admission {
  readonly #limiters: CallLimiters;
  readonly #clock: Clock;
  #hasLeft = false;

  constructor(limiters: CallLimiters, clock: Clock) {
    this.#limiters = limiters;
    this.#clock = clock;
  }

  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    leaveAll(this.#limiters);
  }

  appendHeaders(headers: string[]): void {
    this.#limiters.headers.append(headers, this.#clock.monotonicMs());
  }
}
