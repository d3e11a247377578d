import type { Clock, Timer } from "../clock.ts";
import type { ApiClient } from "./api-client.ts";
import { hasStatus } from "./api-error.ts";
import type { KubernetesObject, Persisted, Resource } from "./resource.ts";

/** Who has not renewed for so long leads no longer. */
const LEASE_MS = 10_000;
/** The leader itself gives up earlier, so that two never lead at once. */
const RENEW_DEADLINE_MS = 7000;
const RENEW_MS = 2000;

interface Lease extends KubernetesObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface LeaderElectionOptions {
  client: ApiClient;
  namespace: string;
  /** Of the Lease. */
  name: string;
  /** Of this process, unlike any other's. */
  identity: string;
  clock: Clock;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  onElected(): void;
  onLost(): void;
}

/**
 * One of many leads, by a Lease. Others' clocks are not believed: a lease has ended when it was not renewed for its whole
 * length by our own monotonic clock.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #resource: Resource;
  #timer: Timer | undefined;
  #stopped = false;
  #leads = false;
  #renewedAtMs = 0;
  /** What was read last, and when it was first seen so. */
  #seen: { version: string; atMs: number } | undefined;
  #attempt: Promise<void> = Promise.resolve();

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#resource = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", plural: "leases", namespace: options.namespace };
  }

  get leads(): boolean {
    return this.#leads;
  }

  start(): void {
    this.#attempt = this.#tryOnce().finally(() => this.#arm());
  }

  /** Gives the lease back, so that another leads at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#attempt;
    if (!this.#leads) return;
    this.#lose();
    const { client, name, identity, log } = this.#options;
    try {
      const lease = await client.get<Lease>(this.#resource, name, { timeoutMs: RENEW_MS });
      if (lease.spec?.holderIdentity !== identity) return;
      await client.replace(this.#resource, { ...lease, spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 } });
    } catch (error) {
      log.warn({ err: error }, "the lease could not be given back; another leads once it has run out");
    }
  }

  #arm(): void {
    if (this.#stopped) return;
    // Spread, so that replicas do not try all at once.
    this.#timer = this.#options.clock.setTimer(RENEW_MS * (0.8 + 0.4 * Math.random()), () => this.start());
  }

  async #tryOnce(): Promise<void> {
    const { clock, log } = this.#options;
    const startedAtMs = clock.monotonicMs();
    const deadline = clock.setTimer(this.#leads ? Math.max(0, this.#renewedAtMs + RENEW_DEADLINE_MS - startedAtMs) : LEASE_MS, () =>
      this.#lose(),
    );
    try {
      const holds = await this.#acquire();
      if (this.#stopped && !this.#leads) return;
      if (holds) {
        this.#renewedAtMs = startedAtMs;
        if (!this.#leads) this.#win();
      } else this.#lose();
    } catch (error) {
      if (this.#leads && clock.monotonicMs() - this.#renewedAtMs >= RENEW_DEADLINE_MS) this.#lose();
      if (this.#leads || this.#seen === undefined)
        log.warn({ err: error }, "the lease of the leader could not be renewed; it is tried again");
    } finally {
      deadline.cancel();
    }
  }

  /** One try to get or keep the lease. */
  async #acquire(): Promise<boolean> {
    const { client, name, identity, clock } = this.#options;
    const lease = await client.find<Lease>(this.#resource, name, { timeoutMs: RENEW_DEADLINE_MS });
    if (lease !== undefined && lease.spec?.holderIdentity !== identity && !this.#hasEnded(lease)) return false;
    const spec = buildSpec(lease, identity, clock.nowMs());
    try {
      if (lease === undefined) await client.create<Lease>(this.#resource, { metadata: { name }, spec });
      else await client.replace<Lease>(this.#resource, { ...lease, spec });
      return true;
    } catch (error) {
      // Another was faster.
      if (hasStatus(error, 409)) return false;
      throw error;
    }
  }

  #hasEnded({ metadata, spec }: Persisted<Lease>): boolean {
    if (spec?.holderIdentity === undefined || spec.holderIdentity === "") return true;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#seen?.version !== metadata.resourceVersion) this.#seen = { version: metadata.resourceVersion, atMs: nowMs };
    return nowMs - this.#seen.atMs > (spec.leaseDurationSeconds ?? LEASE_MS / 1000) * 1000;
  }

  #win(): void {
    this.#leads = true;
    this.#options.log.info({ identity: this.#options.identity }, "leads now");
    this.#options.onElected();
  }

  #lose(): void {
    if (!this.#leads) return;
    this.#leads = false;
    this.#options.log.info({ identity: this.#options.identity }, "leads no longer");
    this.#options.onLost();
  }
}

function buildSpec(lease: Lease | undefined, identity: string, nowMs: number): NonNullable<Lease["spec"]> {
  // Microseconds are what the API wants here.
  const now = new Date(nowMs).toISOString().replace("Z", "000Z");
  const before = lease?.spec;
  const isOurs = before?.holderIdentity === identity;
  return {
    holderIdentity: identity,
    leaseDurationSeconds: LEASE_MS / 1000,
    acquireTime: isOurs ? (before.acquireTime ?? now) : now,
    renewTime: now,
    leaseTransitions: (before?.leaseTransitions ?? 0) + (isOurs ? 0 : 1),
  };
}
