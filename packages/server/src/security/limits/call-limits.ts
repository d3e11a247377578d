import type { Principal } from "../principal.ts";
import type { LimiterSet } from "./admission.ts";
import { CallerLimiters } from "./caller-limiters.ts";
import { type CompiledLimits, compileLimits, Limiter, type Limits } from "./limiter.ts";
import { RateLimitHeaders } from "./rate-limit-headers.ts";

export interface CallLimitsOptions {
  /** Of each caller that has none of its own. */
  caller: Limits;
  /** Of all callers together. */
  global: Limits;
}

/** The limiters that calls of one caller to one function have to pass: the same object from call to call, while nothing changes. */
export class CallLimiters implements LimiterSet {
  readonly function: Limiter | undefined;
  readonly caller: Limiter | undefined;
  readonly global: Limiter | undefined;
  readonly headers: RateLimitHeaders;

  constructor(ofFunction: Limiter | undefined, caller: Limiter | undefined, global: Limiter | undefined) {
    this.function = ofFunction;
    this.caller = caller;
    this.global = global;
    this.headers = new RateLimitHeaders(this);
  }
}

/** Finds the limiters that a call has to pass: of its function, of its caller, of all together. */
export class CallLimits {
  readonly #ofCallers: CompiledLimits | undefined;
  readonly #global: Limiter | undefined;
  readonly #callers = new CallerLimiters();
  readonly #ofPrincipals = new WeakMap<Principal, { limits: CompiledLimits | undefined }>();
  readonly #ofFunctions = new WeakMap<object, { limits: Limits; limiter: Limiter }>();

  constructor({ caller, global }: CallLimitsOptions) {
    this.#ofCallers = compileLimits(caller);
    const limits = compileLimits(global);
    this.#global = limits === undefined ? undefined : new Limiter(limits);
  }

  /**
   * hot: undefined where nothing is limited. `entry` stands for the function, `limits` are those of its spec, the same object as long as
   * that is the same; `address` names callers who did not say who they are; `before` is the answer for this caller and function before.
   */
  of(
    entry: object,
    limits: Limits,
    principal: Principal | undefined,
    address: () => string,
    nowMs: number,
    before?: CallLimiters,
  ): CallLimiters | undefined {
    const ofFunction = this.#functionLimiter(entry, limits);
    const callerLimits = principal === undefined ? this.#ofCallers : this.#limitsOf(principal);
    const caller =
      callerLimits === undefined ? undefined : this.#callers.of(principal?.subject ?? `address:${address()}`, callerLimits, nowMs);
    const global = this.#global;
    if (before !== undefined && before.function === ofFunction && before.caller === caller) return before;
    if (ofFunction === undefined && caller === undefined && global === undefined) return undefined;
    return new CallLimiters(ofFunction, caller, global);
  }

  #functionLimiter(entry: object, limits: Limits): Limiter | undefined {
    if (limits.rateLimit === undefined && limits.maxConcurrency === undefined) return undefined;
    const known = this.#ofFunctions.get(entry);
    if (known?.limits === limits) return known.limiter;
    const compiled = compileLimits(limits)!;
    // In place, so that a change of the spec gives no full bucket to who has just emptied it.
    known?.limiter.setLimits(compiled);
    const limiter = known?.limiter ?? new Limiter(compiled);
    this.#ofFunctions.set(entry, { limits, limiter });
    return limiter;
  }

  #limitsOf(principal: Principal): CompiledLimits | undefined {
    let known = this.#ofPrincipals.get(principal);
    if (known === undefined) {
      const hasOwn = principal.rateLimit !== undefined || principal.maxConcurrency !== undefined;
      known = { limits: hasOwn ? compileLimits(principal) : this.#ofCallers };
      this.#ofPrincipals.set(principal, known);
    }
    return known.limits;
  }
}
