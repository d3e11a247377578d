import { connect } from "node:net";
import { type Manifest } from "../helm.ts";
import { apply, FUNCTIONS_NAMESPACE, isReady, kubectl, list, type Pod } from "./cluster.ts";
import { waitFor } from "../../support/server.ts";

export interface Target {
  host: string;
  port: number;
}

/** Longer than a packet takes here, shorter than TCP's third try. */
const CONNECT_LIMIT_MS = 2500;

/** A pod of a function's making, as far as policies see: what runs in it listens where replicas do, and on a port of its own. */
export const OWN_PORT = 5000;
const LISTEN = `for (const port of [7070, ${OWN_PORT}]) require("node:net").createServer((socket) => socket.on("error", () => {}).end("x")).listen(port)`;

/** After the template of a pool's pods, so that labels, user and rights are theirs. */
export async function createReplicaLikePod(name: string, network: "outbound" | "none", nodeName: string): Promise<void> {
  const [pool] = await list("deployments", FUNCTIONS_NAMESPACE, "kube-serverless.io/runtime=nodejs18,kube-serverless.io/network=outbound");
  const { metadata, spec } = structuredClone(pool!["spec"].template) as Manifest;
  delete metadata.labels!["kube-serverless.io/pool"];
  const [container] = spec.containers;
  Object.assign(container, { command: ["node", "--eval", LISTEN], volumeMounts: [] });
  const labels = { ...metadata.labels, "kube-serverless.io/network": network };
  await apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: FUNCTIONS_NAMESPACE, labels },
    spec: { ...spec, nodeName, volumes: [], terminationGracePeriodSeconds: 0 },
  });
}

/** A pod of somebody else, whom no policy holds. */
export async function createFreePod(name: string, namespace: string, image: string, nodeName: string): Promise<void> {
  const container = { name: "replica", image, imagePullPolicy: "IfNotPresent", command: ["node", "--eval", LISTEN] };
  await apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: { containers: [container], nodeName, terminationGracePeriodSeconds: 0 },
  });
}

export async function untilReady(name: string, namespace: string): Promise<Pod> {
  return waitFor(
    `pod ${name}`,
    async () => {
      const pod = JSON.parse(await kubectl(["get", "pod", name, "--namespace", namespace, "--output=json"])) as Pod;
      return isReady(pod) ? pod : undefined;
    },
    60_000,
  );
}

const TRY_ALL = `
const [limit, ...targets] = process.argv.slice(1);
const attempt = (target) => new Promise((resolve) => {
  const [port, ...host] = target.split(":").reverse();
  const socket = require("node:net").connect({ host: host.reverse().join(":"), port });
  const end = (word) => { socket.destroy(); resolve(word); };
  socket.once("connect", () => end("open")).once("error", (error) => end(error.code));
  setTimeout(end, limit, "silent");
});
Promise.all(targets.map(attempt)).then((words) => console.log(JSON.stringify(words)));
`;

/** Which of the targets a program in the pod can connect to: "open", "silent", or the error's code. */
export async function tryFromPod(pod: Pod, container: string, targets: readonly Target[]): Promise<string[]> {
  const words = targets.map(({ host, port }) => `${host}:${port}`);
  const { name, namespace } = pod.metadata;
  const command = ["exec", name, "--namespace", namespace!, "--container", container, "--"];
  return JSON.parse(await kubectl([...command, "node", "--eval", TRY_ALL, "--", String(CONNECT_LIMIT_MS), ...words])) as string[];
}

/** The same from the node itself, which every pod must let in. */
export async function tryFromHere(targets: readonly Target[]): Promise<string[]> {
  return Promise.all(
    targets.map(
      ({ host, port }) =>
        new Promise<string>((resolve) => {
          const socket = connect({ host, port, timeout: CONNECT_LIMIT_MS });
          const end = (word: string): void => {
            socket.destroy();
            resolve(word);
          };
          socket.once("connect", () => end("open")).once("timeout", () => end("silent"));
          socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
        }),
    ),
  );
}
