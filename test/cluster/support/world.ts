import { Platform } from "../../conformance/support/platform.ts";
import { waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, isReady, kubectl, list, type Pod, readyGateways, SYSTEM_NAMESPACE } from "./cluster.ts";
import { originOf, publicOrigin, untilWhole } from "./platform.ts";

/** A killed leader's Lease runs for ten seconds, which the others count from when they last saw it renewed. */
const NEW_LEADER_LIMIT_MS = 30_000;

/** Answers with the replica that it ran in; `?ms=` is how long it takes, `?mib=` how much memory. */
export const WORKER = `
const { hostname } = require("node:os");
const held = [];
exports.handler = async ({ query }) => {
  if (query.mib !== undefined) held.push(Buffer.alloc(Number(query.mib) * 1024 * 1024, 1));
  await new Promise((resolve) => setTimeout(resolve, Number(query.ms ?? 0)));
  return { statusCode: 200, body: hostname() };
};`;

/** The platform on the cluster as fault tests see it. */
export class World {
  readonly platform: Platform;
  /** The Service. */
  readonly origin: string;
  gateways: Pod[];

  private constructor(origin: string, gateways: Pod[]) {
    this.origin = origin;
    this.platform = new Platform(origin, undefined, false);
    this.gateways = gateways;
  }

  static async open(): Promise<World> {
    const gateways = await untilWhole();
    return new World(await publicOrigin(), gateways);
  }

  /** Waits until nothing is missing any more, as each fault must leave the next one. */
  async heal(): Promise<void> {
    this.gateways = await untilWhole();
  }

  async close(): Promise<void> {
    await this.heal();
    await this.platform.removeAll();
  }

  get gatewayOrigins(): string[] {
    return this.gateways.map(originOf);
  }

  gatewayOn(node: string): Pod {
    const gateway = this.gateways.find(({ spec }) => spec.nodeName === node);
    if (gateway === undefined) throw new Error(`there is no gateway on ${node}`);
    return gateway;
  }

  /** Deploys a function with so many replicas, and waits until they run. */
  async deployWorker(name: string, minReplicas: number, wish: Record<string, unknown> = {}): Promise<Pod[]> {
    await this.platform.deploy({ name, code: WORKER, minReplicas, ...wish });
    return waitFor(
      `${minReplicas} replicas`,
      async () => {
        const replicas = (await this.replicasOf(name)).filter(isReady);
        return replicas.length >= minReplicas ? replicas : undefined;
      },
      60_000,
    );
  }

  async uidOf(name: string): Promise<string> {
    return kubectl(["get", "function", name, "--namespace", FUNCTIONS_NAMESPACE, "--output=jsonpath={.metadata.uid}"]);
  }

  /** Its pods that have not been told to go. */
  async replicasOf(name: string): Promise<Pod[]> {
    const pods = await list<Pod>("pods", FUNCTIONS_NAMESPACE, `kube-serverless.io/function-uid=${await this.uidOf(name)}`);
    return pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  /** The gateway that holds the Lease. */
  async leader(): Promise<Pod> {
    return waitFor(
      "a leader",
      async () => {
        const leases = await list("leases", SYSTEM_NAMESPACE);
        const lease = leases.find(({ metadata }) => metadata.name === "kube-serverless-leader");
        const holder = lease?.["spec"].holderIdentity as string | undefined;
        return (await readyGateways()).find(({ metadata }) => holder?.startsWith(metadata.name));
      },
      NEW_LEADER_LIMIT_MS,
    );
  }
}
