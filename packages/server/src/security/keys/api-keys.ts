import { timingSafeEqual } from "node:crypto";
import type { ApiKeyView, CreateApiKey, CreatedApiKey } from "@kube-serverless/contracts";
import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../../clock.ts";
import type { TaskGroup } from "../../task-group.ts";
import type { Principal } from "../principal.ts";
import { createKeyText, hashKey, parseKeyId } from "./key-text.ts";
import type { ApiKeyStore, StoredApiKey, StoredSecret } from "./port.ts";

export interface ApiKeysOptions {
  store: ApiKeyStore;
  clock: Clock;
  tasks: TaskGroup;
  /** Told after a key has gone or changed: what was verified before counts no more. */
  onChanged?: () => void;
}

/** `mistyped`: no key of ours at all; `expired`: it was one, which its owner may know. */
export type KeyCheck = { ok: true; principal: Principal; validUntilMs: number } | { ok: false; reason: "mistyped" | "unknown" | "expired" };

export const MAX_API_KEYS = 10_000;
/** Secrets before the current one that may work at once: for two who rotate a key at the same time, or one who does it again. */
const MAX_OLD_SECRETS = 3;
const LAST_USE_FLUSH_MS = 60_000;

/** The keys, in memory and in their store; verifying never waits. */
export class ApiKeys {
  readonly #store: ApiKeyStore;
  readonly #clock: Clock;
  readonly #tasks: TaskGroup;
  readonly #onChanged: () => void;
  readonly #keys = new Map<string, StoredApiKey>();
  readonly #uses = new Map<string, number>();
  #flushTimer: Timer | undefined;
  /** One change at a time, so that none overwrites another. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(options: ApiKeysOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#tasks = options.tasks;
    this.#onChanged = options.onChanged ?? (() => {});
  }

  /** Before the first request. */
  async load(): Promise<void> {
    for (const key of await this.#store.load()) this.#keys.set(key.id, key);
  }

  /** By name, then age. */
  list(): ApiKeyView[] {
    const byName = (a: StoredApiKey, b: StoredApiKey): number =>
      a.name < b.name ? -1 : a.name > b.name ? 1 : a.createdAtMs - b.createdAtMs;
    return [...this.#keys.values()].sort(byName).map((key) => this.#view(key));
  }

  /** Undefined for one that does not exist. */
  get(id: string): ApiKeyView | undefined {
    const key = this.#keys.get(id);
    return key === undefined ? undefined : this.#view(key);
  }

  /** Whether somebody holds a key that can still make others. */
  hasAdmin(): boolean {
    const nowMs = this.#clock.nowMs();
    return [...this.#keys.values()].some(
      (key) => key.role === "admin" && key.functions.includes("*") && nowMs < (key.expiresAtMs ?? Infinity),
    );
  }

  /** @throws KsError `INVALID_REQUEST` for an end in the past, `FORBIDDEN` where there are too many keys. */
  create(wish: CreateApiKey): Promise<CreatedApiKey> {
    return this.#change(async () => {
      const nowMs = this.#clock.nowMs();
      const expiresAtMs = wish.expiresAt === undefined ? undefined : Date.parse(wish.expiresAt);
      if (expiresAtMs !== undefined && expiresAtMs <= nowMs)
        throw new KsError("INVALID_REQUEST", { details: [{ path: "expiresAt", message: "must be in the future" }] });
      if (this.#keys.size >= MAX_API_KEYS)
        throw new KsError("FORBIDDEN", { message: `Forbidden: there are ${MAX_API_KEYS} keys already; delete some` });
      const { id, text } = createKeyText();
      const key: StoredApiKey = {
        id,
        name: wish.name,
        role: wish.role,
        functions: wish.functions,
        createdAtMs: nowMs,
        ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
        ...(wish.rateLimit === undefined ? {} : { rateLimit: wish.rateLimit }),
        ...(wish.maxConcurrency === undefined ? {} : { maxConcurrency: wish.maxConcurrency }),
        secrets: [{ hash: hashKey(text) }],
      };
      await this.#store.put(key);
      this.#keys.set(id, key);
      return { ...this.#view(key), key: text };
    });
  }

  /** Gives the key a new secret; those before work on for the overlap at most. Undefined for a key that does not exist. */
  rotate(id: string, overlapMs: number): Promise<CreatedApiKey | undefined> {
    return this.#change(async () => {
      const before = this.#keys.get(id);
      if (before === undefined) return undefined;
      const { text } = createKeyText(id);
      const old = outlive(before.secrets, this.#clock.nowMs(), overlapMs);
      const key: StoredApiKey = { ...before, secrets: [{ hash: hashKey(text) }, ...old] };
      await this.#store.put(key);
      this.#keys.set(id, key);
      this.#onChanged();
      return { ...this.#view(key), key: text };
    });
  }

  /** Resolves when the key is refused, also after a restart; false for one that does not exist. */
  remove(id: string): Promise<boolean> {
    return this.#change(async () => {
      if (!this.#keys.has(id)) return false;
      await this.#store.remove(id);
      this.#keys.delete(id);
      this.#uses.delete(id);
      this.#onChanged();
      return true;
    });
  }

  /** Whose key this is. */
  check(text: string): KeyCheck {
    const id = parseKeyId(text);
    if (id === undefined) return { ok: false, reason: "mistyped" };
    const key = this.#keys.get(id);
    const hash = hashKey(text);
    const secret = key?.secrets.find((known) => timingSafeEqual(known.hash, hash));
    if (key === undefined || secret === undefined) return { ok: false, reason: "unknown" };
    const nowMs = this.#clock.nowMs();
    const validUntilMs = Math.min(key.expiresAtMs ?? Infinity, secret.validUntilMs ?? Infinity);
    if (nowMs >= validUntilMs) return { ok: false, reason: "expired" };
    this.noteUse(id, nowMs);
    return { ok: true, principal: buildPrincipal(key), validUntilMs };
  }

  /** Written within a minute, however often it is used. */
  noteUse(id: string, atMs: number): void {
    this.#uses.set(id, atMs);
    this.#flushTimer ??= this.#clock.setTimer(LAST_USE_FLUSH_MS, () => {
      this.#flushTimer = undefined;
      this.#tasks.run("save last use of keys", () => this.#flush());
    });
  }

  /** Writes what is not written yet. */
  async stop(): Promise<void> {
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    await this.#changing.catch(() => {});
    await this.#flush();
  }

  async #flush(): Promise<void> {
    const uses = new Map(this.#uses);
    this.#uses.clear();
    for (const [id, atMs] of uses) {
      const key = this.#keys.get(id);
      if (key !== undefined) this.#keys.set(id, { ...key, lastUsedAtMs: atMs });
    }
    if (uses.size > 0) await this.#store.saveLastUse(uses);
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work, work);
    this.#changing = done.catch(() => {});
    return done;
  }

  #view(key: StoredApiKey): ApiKeyView {
    const previous = Math.max(...key.secrets.map(({ validUntilMs = 0 }) => validUntilMs));
    const isOver = previous <= this.#clock.nowMs();
    const lastUsedAtMs = this.#uses.get(key.id) ?? key.lastUsedAtMs;
    return {
      id: key.id,
      name: key.name,
      role: key.role,
      functions: [...key.functions],
      createdAt: toIso(key.createdAtMs),
      expiresAt: key.expiresAtMs === undefined ? null : toIso(key.expiresAtMs),
      lastUsedAt: lastUsedAtMs === undefined ? null : toIso(lastUsedAtMs),
      previousSecretUntil: isOver ? null : toIso(previous),
      ...(key.rateLimit === undefined ? {} : { rateLimit: key.rateLimit }),
      ...(key.maxConcurrency === undefined ? {} : { maxConcurrency: key.maxConcurrency }),
    };
  }
}

/** The secrets of a key that has got a new one: none works longer than was promised when it was replaced, nor than the overlap. */
function outlive(secrets: readonly StoredSecret[], nowMs: number, overlapMs: number): StoredSecret[] {
  return secrets
    .map(({ hash, validUntilMs = Infinity }) => ({ hash, validUntilMs: Math.min(validUntilMs, nowMs + overlapMs) }))
    .filter(({ validUntilMs }) => validUntilMs > nowMs)
    .slice(0, MAX_OLD_SECRETS);
}

function buildPrincipal(key: StoredApiKey): Principal {
  return {
    subject: `key:${key.id}`,
    kind: "api-key",
    name: key.name,
    grants: [{ role: key.role, functions: key.functions }],
    expiresAtMs: key.expiresAtMs,
    rateLimit: key.rateLimit,
    maxConcurrency: key.maxConcurrency,
    claims: undefined,
  };
}

function toIso(atMs: number): string {
  return new Date(atMs).toISOString();
}
