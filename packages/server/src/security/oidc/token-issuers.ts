import type { OidcIssuer } from "@kube-serverless/contracts";
import { decodeJwt, errors, type JWTPayload, jwtVerify } from "jose";
import type { Clock } from "../../clock.ts";
import type { Principal } from "../principal.ts";
import { grantsOf } from "./claims.ts";
import { IssuerKeys, type IssuerKeysOptions, type KeySet } from "./issuer-keys.ts";

/** `foreign`: no token of a known issuer. `issuer-away`: right or wrong, nobody can tell now. */
export type TokenCheck =
  | { ok: true; principal: Principal; validUntilMs: number }
  | { ok: false; reason: "foreign" | "expired" | "invalid" | "issuer-away"; problem: string };

export interface TokenIssuersOptions {
  issuers: readonly OidcIssuer[];
  clock: Clock;
  fetchJson?: IssuerKeysOptions["fetchJson"];
  /** Told when an issuer can be reached no more (with why), and again. */
  onChange?: (name: string, error: Error | undefined) => void;
}

// Signatures alone, by keys that only the issuer has: with HS256 a public key would be taken for the secret. Ed25519 is EdDSA's newer name.
const ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"];
/** `at+jwt` is RFC 9068's; ID tokens and many others have JWT or none. */
const TYPES: ReadonlySet<unknown> = new Set([undefined, "jwt", "at+jwt", "application/at+jwt"]);
const MAX_TOKEN_LENGTH = 16_384;
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

interface KnownIssuer {
  config: OidcIssuer;
  keys: IssuerKeys;
}

/** Checks bearer tokens (JWT) of the configured issuers. */
export class TokenIssuers {
  readonly #clock: Clock;
  readonly #byIssuer: ReadonlyMap<string, KnownIssuer>;

  constructor({ issuers, clock, fetchJson, onChange }: TokenIssuersOptions) {
    this.#clock = clock;
    const know = (config: OidcIssuer): KnownIssuer => ({
      config,
      keys: new IssuerKeys({
        issuer: config,
        clock,
        ...(fetchJson === undefined ? {} : { fetchJson }),
        onChange: (error) => onChange?.(config.name, error),
      }),
    });
    this.#byIssuer = new Map(issuers.map((config) => [config.issuer, know(config)]));
  }

  /** Fetches all keys, so that the first caller need not wait; issuers that are away are no reason not to start. */
  async start(): Promise<void> {
    await Promise.all([...this.#byIssuer.values()].map(({ keys }) => keys.refresh()));
  }

  stop(): void {
    for (const { keys } of this.#byIssuer.values()) keys.stop();
  }

  /** Names of the issuers that cannot be reached, for `/ready`. */
  away(): string[] {
    return [...this.#byIssuer.values()].filter(({ keys }) => keys.problem !== undefined).map(({ config }) => config.name);
  }

  /** Whose token this is; never rejects. */
  async check(token: string): Promise<TokenCheck> {
    const known = this.#findIssuer(token);
    if (known === undefined) return { ok: false, reason: "foreign", problem: "the token is of no issuer that is known here" };
    const { keys, config } = known;
    const set = await keys.get();
    if (set === undefined) return away(config);
    try {
      return this.#accept(config, await this.#verify(config, token, set));
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) return explain(error);
    }
    // The issuer may have a new key since.
    if (!(await keys.refresh())) return keys.problem === undefined ? explain(new errors.JWKSNoMatchingKey()) : away(config);
    const renewed = await keys.get();
    if (renewed === undefined) return away(config);
    return this.#verify(config, token, renewed).then((payload) => this.#accept(config, payload), explain);
  }

  #findIssuer(token: string): KnownIssuer | undefined {
    if (token.length > MAX_TOKEN_LENGTH || !TOKEN.test(token)) return undefined;
    try {
      return this.#byIssuer.get(decodeJwt(token).iss ?? "");
    } catch {
      return undefined;
    }
  }

  async #verify({ issuer, audiences, skewSeconds }: OidcIssuer, token: string, set: KeySet): Promise<JWTPayload> {
    const { payload, protectedHeader } = await jwtVerify(token, set, {
      algorithms: ALGORITHMS,
      issuer,
      audience: audiences,
      clockTolerance: skewSeconds,
      currentDate: new Date(this.#clock.nowMs()),
      requiredClaims: ["exp", "sub"],
    });
    if (!TYPES.has(protectedHeader.typ?.toLowerCase())) throw new errors.JWTInvalid(`its typ is ${protectedHeader.typ}`);
    return payload;
  }

  #accept(config: OidcIssuer, payload: JWTPayload): TokenCheck {
    const validUntilMs = (payload.exp! + config.skewSeconds) * 1000;
    const principal: Principal = {
      subject: `${config.name}:${payload.sub}`,
      kind: "oidc",
      name: nameOf(payload),
      grants: grantsOf(config.rules, payload),
      expiresAtMs: validUntilMs,
      rateLimit: config.rateLimit,
      maxConcurrency: config.maxConcurrency,
      claims: payload,
    };
    return { ok: true, principal, validUntilMs };
  }
}

function nameOf(payload: JWTPayload): string {
  for (const claim of ["preferred_username", "email", "name", "client_id", "azp"]) {
    const value = payload[claim];
    if (typeof value === "string" && value !== "") return value;
  }
  return payload.sub!;
}

function away({ name }: OidcIssuer): TokenCheck {
  return { ok: false, reason: "issuer-away", problem: `the issuer ${name} cannot be reached to check the token; try again later` };
}

function explain(error: unknown): TokenCheck {
  if (error instanceof errors.JWTExpired) return { ok: false, reason: "expired", problem: "the token has expired" };
  const invalid = (problem: string): TokenCheck => ({ ok: false, reason: "invalid", problem });
  if (error instanceof errors.JWTClaimValidationFailed) return invalid(`the token's claim ${error.claim} is missing or wrong`);
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid("the token must be signed by RS256, ES256 or EdDSA");
  if (error instanceof errors.JWKSNoMatchingKey) return invalid("the token's issuer has no such key");
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid("the token's signature is wrong");
  return invalid("the token is malformed");
}
