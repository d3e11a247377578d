import { isSafeUrl, type OidcIssuer } from "@kube-serverless/contracts";
import { createLocalJWKSet, type JSONWebKeySet } from "jose";
import type { Clock, Timer } from "../../clock.ts";
import { compileRate } from "../limits/rate.ts";
import { TokenBucket } from "../limits/token-bucket.ts";
import { fetchJson } from "./fetch-json.ts";

export type KeySet = ReturnType<typeof createLocalJWKSet>;

export interface IssuerKeysOptions {
  issuer: Pick<OidcIssuer, "issuer" | "jwksUrl">;
  clock: Clock;
  /** @default HTTP with bounds of time and size */
  fetchJson?: (url: string) => Promise<unknown>;
  /** Told when the issuer can be reached no more, and again; once each. */
  onChange?: (error: Error | undefined) => void;
}

/** Keys that the issuer has taken back are trusted for no longer. */
const FRESH_MS = 5 * 60_000;
/** From then on they are fetched anew beside the calls, so that none waits. */
const FETCH_AHEAD_MS = 4 * 60_000;
/** An issuer that is away is asked again without a caller, too, so that `/ready` tells when it is back. */
const RETRY_MS = 30_000;
// Anybody can send tokens of unknown keys: so often they may make us ask.
const FETCHES = compileRate({ requestsPerSecond: 0.1, burst: 3 });

/** The public keys of an issuer: fetched, kept, renewed. */
export class IssuerKeys {
  readonly #issuer: IssuerKeysOptions["issuer"];
  readonly #clock: Clock;
  readonly #fetchJson: (url: string) => Promise<unknown>;
  readonly #onChange: (error: Error | undefined) => void;
  readonly #bucket = new TokenBucket(FETCHES);
  #keys: { set: KeySet; fetchedAtMs: number } | undefined;
  #fetching: Promise<boolean> | undefined;
  #problem: Error | undefined;
  #retry: Timer | undefined;
  #isStopped = false;

  constructor(options: IssuerKeysOptions) {
    this.#issuer = options.issuer;
    this.#clock = options.clock;
    this.#fetchJson = options.fetchJson ?? fetchJson;
    this.#onChange = options.onChange ?? (() => {});
  }

  /** Why the last fetch failed; undefined when it did not. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** Keys that may be trusted; undefined while the issuer cannot be reached. */
  async get(): Promise<KeySet | undefined> {
    const ageMs = this.#ageMs();
    if (ageMs >= FRESH_MS) await this.refresh();
    else if (ageMs >= FETCH_AHEAD_MS) void this.refresh();
    return this.#ageMs() < FRESH_MS ? this.#keys?.set : undefined;
  }

  /** Fetches the keys anew unless that happened too often lately; whether there are newer ones now. Never rejects. */
  refresh(): Promise<boolean> {
    if (this.#fetching !== undefined) return this.#fetching;
    const nowMs = this.#clock.monotonicMs();
    if (this.#bucket.waitMs(nowMs) > 0) return Promise.resolve(false);
    this.#bucket.take(nowMs);
    this.#fetching = this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  /** Asks no more by itself. */
  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
  }

  #ageMs(): number {
    return this.#keys === undefined ? Infinity : this.#clock.monotonicMs() - this.#keys.fetchedAtMs;
  }

  async #fetch(): Promise<boolean> {
    try {
      const document = await this.#fetchJson(this.#issuer.jwksUrl ?? (await this.#discover()));
      this.#keys = { set: createLocalJWKSet(document as JSONWebKeySet), fetchedAtMs: this.#clock.monotonicMs() };
      this.#note(undefined);
      return true;
    } catch (cause) {
      this.#note(new Error(`The keys of ${this.#issuer.issuer} cannot be fetched`, { cause }));
      return false;
    }
  }

  #note(problem: Error | undefined): void {
    const isChanged = (problem === undefined) !== (this.#problem === undefined);
    this.#problem = problem;
    this.#retry?.cancel();
    if (problem !== undefined) this.#retryLater();
    if (isChanged) this.#onChange(problem);
  }

  #retryLater(): void {
    if (this.#isStopped) return;
    this.#retry = this.#clock.setTimer(RETRY_MS, () => {
      this.#retryLater();
      void this.refresh();
    });
  }

  /** OpenID Connect Discovery 1.0, section 4: the document must be of this issuer, or anybody's keys could be slipped in. */
  async #discover(): Promise<string> {
    const { issuer } = this.#issuer;
    const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const document = (await this.#fetchJson(url)) as { issuer?: unknown; jwks_uri?: unknown } | null;
    if (document?.issuer !== issuer) throw new Error(`${url} is of another issuer: configure the issuer exactly as it calls itself`);
    const { jwks_uri: jwksUrl } = document;
    if (typeof jwksUrl !== "string" || !isSafeUrl(jwksUrl)) throw new Error(`${url} has no https jwks_uri`);
    return jwksUrl;
  }
}
