import type { Clock } from "../../clock.ts";
import type { AdminKey } from "../keys/admin-key.ts";
import type { ApiKeys } from "../keys/api-keys.ts";
import { KEY_PREFIX } from "../keys/key-text.ts";
import type { TokenIssuers } from "../oidc/token-issuers.ts";
import type { Principal } from "../principal.ts";
import { SweptMap } from "../swept-map.ts";
import { ANONYMOUS, type Authentication, type RefusalReason, STRIP_NOTHING } from "./authentication.ts";
import { type CredentialHeader, type Credentials, looksLikeKey, parseBearer } from "./credentials.ts";

export interface AuthenticatorOptions {
  clock: Clock;
  keys: ApiKeys;
  adminKey?: AdminKey | undefined;
  issuers?: TokenIssuers | undefined;
  /** Callers remembered at once. @default 10000 */
  capacity?: number;
}

/** Who was verified, and how long that may be believed. */
interface Verified {
  authentication: Authentication;
  /** Monotonic. */
  verifiedAtMs: number;
  /** Monotonic: until then, without asking again. */
  freshUntilMs: number;
  /** Monotonic: the credential's own end. */
  endsAtMs: number;
}

type Check = { principal: Principal; validUntilMs: number } | { reason: RefusalReason; problem: string };

const FRESH_MS = 60_000;
/** So long a token that was verified is believed while its issuer is away. */
const GRACE_MS = 600_000;
const RETRY_AWAY_MS = 5_000;

const STRIP_AUTHORIZATION: readonly CredentialHeader[] = ["authorization"];
const STRIP_API_KEY: readonly CredentialHeader[] = ["x-api-key"];
const STRIP_BOTH: readonly CredentialHeader[] = ["authorization", "x-api-key"];

/** More parts of a header are not looked at: a hash each. */
const MAX_PARTS = 16;
/** What may stand between keys in a header; an admin key may have commas in it. */
const SEPARATORS = [/[\s,]+/, /,?\s+/] as const;

const UNKNOWN = { principal: undefined, reason: "unknown", strip: STRIP_NOTHING } as const;
const NO_BEARER: Authentication = { ...UNKNOWN, problem: "Authorization must be Bearer with an API key or a token" };
const UNKNOWN_API_KEY: Authentication = { ...UNKNOWN, problem: "X-API-Key is no API key of this platform" };
const UNKNOWN_BEARER: Authentication = {
  ...UNKNOWN,
  problem: "the bearer token is neither an API key nor a token of an issuer that is known here",
};

/** Who of the two is meant, nobody can say: a proxy in front may have looked at either. */
const TWO_KEYS: Authentication = {
  principal: undefined,
  reason: "invalid",
  problem: "Authorization and X-API-Key hold different keys; send one",
  strip: STRIP_BOTH,
};

const KEY_PROBLEMS = {
  mistyped: "the API key is mistyped or cut off",
  unknown: "the API key is unknown or was deleted",
  expired: "the API key has expired",
} as const;

/**
 * Says who calls, by the headers of a request. Who was verified is known by the text of the header for a minute, in memory alone. That
 * look-up compares by a hash with a seed that nobody knows, so its time tells nothing of other callers' keys.
 */
export class Authenticator {
  readonly #clock: Clock;
  readonly #keys: ApiKeys;
  readonly #adminKey: AdminKey | undefined;
  readonly #issuers: TokenIssuers | undefined;
  /** Each header has its own, as what proves a caller in one of them must not count in the other, where it would not be taken out. */
  readonly #byAuthorization: SweptMap<Verified>;
  readonly #byApiKey: SweptMap<Verified>;
  /** Tokens that are looked at now, so that a burst of calls with a new one checks it once. */
  readonly #checking = new Map<string, Promise<Authentication>>();
  #onKeysForgotten: () => void = () => {};

  constructor({ clock, keys, adminKey, issuers, capacity = 10_000 }: AuthenticatorOptions) {
    this.#clock = clock;
    this.#keys = keys;
    this.#adminKey = adminKey;
    this.#issuers = issuers;
    const isOver = (verified: Verified, nowMs: number): boolean => nowMs >= Math.min(verified.endsAtMs, verified.verifiedAtMs + GRACE_MS);
    this.#byAuthorization = new SweptMap({ capacity, isOver });
    this.#byApiKey = new SweptMap({ capacity, isOver });
  }

  /** A key was changed or deleted: holders of keys are looked at again. Tokens stay known, as their issuer may be away just now. */
  forgetKeys(): void {
    for (const verified of [this.#byAuthorization, this.#byApiKey])
      verified.deleteWhere(({ authentication }) => authentication.principal?.kind === "api-key");
    this.#onKeysForgotten();
  }

  /** Calls it from now on when who was let in may be so no more. */
  whenKeysForgotten(tell: () => void): void {
    this.#onKeysForgotten = tell;
  }

  /** hot: answers at once but for tokens that were not seen for a minute; never rejects. */
  authenticate({ authorization, "x-api-key": apiKey }: Credentials): Authentication | Promise<Authentication> {
    if (apiKey !== undefined) return this.#withApiKey(apiKey, authorization);
    if (authorization === undefined) return ANONYMOUS;
    return this.#withAuthorization(authorization);
  }

  /** hot */
  #withAuthorization(header: string): Authentication | Promise<Authentication> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#byAuthorization.get(header);
    if (known !== undefined && nowMs < known.freshUntilMs) return known.authentication;
    const text = parseBearer(header);
    if (text === undefined) return { ...NO_BEARER, strip: this.#carriesOurs(header) ? STRIP_AUTHORIZATION : STRIP_NOTHING };
    const check = this.#checkKey(text);
    if (check !== undefined) return this.#remember(this.#byAuthorization, header, check, STRIP_AUTHORIZATION);
    if (this.#issuers === undefined) return UNKNOWN_BEARER;
    return this.#checkToken(header, text, this.#issuers);
  }

  #withApiKey(apiKey: string, authorization: string | undefined): Authentication | Promise<Authentication> {
    const check = this.#knownKey(apiKey) ?? this.#checkKey(apiKey);
    if (check === undefined) return this.#withForeignApiKey(apiKey, authorization);
    const authentication = "strip" in check ? check : this.#remember(this.#byApiKey, apiKey, check, STRIP_API_KEY);
    if (authorization === undefined || !this.#carriesOurs(authorization)) return authentication;
    return parseBearer(authorization) === apiKey ? { ...authentication, strip: STRIP_BOTH } : TWO_KEYS;
  }

  /** The function's own, perhaps; or ours sent twice, which counts for nothing and must not reach the function either. */
  #withForeignApiKey(apiKey: string, authorization: string | undefined): Authentication | Promise<Authentication> {
    if (this.#carriesOurs(apiKey)) {
      const isBoth = authorization !== undefined && this.#carriesOurs(authorization);
      return { ...UNKNOWN_API_KEY, strip: isBoth ? STRIP_BOTH : STRIP_API_KEY };
    }
    return authorization === undefined ? UNKNOWN_API_KEY : this.#withAuthorization(authorization);
  }

  #knownKey(apiKey: string): Authentication | undefined {
    const known = this.#byApiKey.get(apiKey);
    return known !== undefined && this.#clock.monotonicMs() < known.freshUntilMs ? known.authentication : undefined;
  }

  /** Whether a key of ours is anywhere in a header, as where it was sent twice. */
  #carriesOurs(header: string): boolean {
    const admin = this.#adminKey;
    if (header.includes(KEY_PREFIX)) return true;
    if (admin === undefined) return false;
    return SEPARATORS.some((separator) => header.split(separator, MAX_PARTS).some((part) => admin.check(part) !== undefined));
  }

  /** Undefined for what is no key of ours. */
  #checkKey(text: string): Check | undefined {
    const admin = this.#adminKey?.check(text);
    if (admin !== undefined) return { principal: admin, validUntilMs: Infinity };
    if (!looksLikeKey(text)) return undefined;
    const check = this.#keys.check(text);
    return check.ok ? check : { reason: check.reason, problem: KEY_PROBLEMS[check.reason] };
  }

  #checkToken(header: string, token: string, issuers: TokenIssuers): Promise<Authentication> {
    let checking = this.#checking.get(header);
    if (checking === undefined) {
      checking = this.#verifyToken(header, token, issuers).finally(() => this.#checking.delete(header));
      this.#checking.set(header, checking);
    }
    return checking;
  }

  async #verifyToken(header: string, token: string, issuers: TokenIssuers): Promise<Authentication> {
    const check = await issuers.check(token);
    if (check.ok) return this.#remember(this.#byAuthorization, header, check, STRIP_AUTHORIZATION);
    if (check.reason === "foreign") return UNKNOWN_BEARER;
    const nowMs = this.#clock.monotonicMs();
    const known = this.#byAuthorization.get(header);
    const isBelieved =
      check.reason === "issuer-away" && known !== undefined && nowMs < Math.min(known.endsAtMs, known.verifiedAtMs + GRACE_MS);
    if (!isBelieved) return { principal: undefined, reason: check.reason, problem: check.problem, strip: STRIP_NOTHING };
    known.freshUntilMs = Math.min(nowMs + RETRY_AWAY_MS, known.endsAtMs, known.verifiedAtMs + GRACE_MS);
    return known.authentication;
  }

  #remember(verified: SweptMap<Verified>, credential: string, check: Check, strip: readonly CredentialHeader[]): Authentication {
    if (!("principal" in check)) return { principal: undefined, ...check, strip };
    const nowMs = this.#clock.monotonicMs();
    const authentication: Authentication = { principal: check.principal, strip };
    const endsAtMs = nowMs + check.validUntilMs - this.#clock.nowMs();
    verified.set(credential, { authentication, verifiedAtMs: nowMs, freshUntilMs: Math.min(nowMs + FRESH_MS, endsAtMs), endsAtMs }, nowMs);
    return authentication;
  }
}
