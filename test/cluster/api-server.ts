import { type ChildProcess, execFile } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { endProcess, freePort, hasEnded, spawnTied } from "../support/process.ts";
import { findOnPath, kubetest } from "./binaries.ts";

const START_LIMIT_MS = 60_000;

/** Why no API server can run here, or undefined when one can. */
export function apiServerMissing(): string | undefined {
  if (findOnPath("etcd") === undefined) return "needs etcd: apt-get install etcd-server";
  if (findOnPath("kubectl") === undefined || !existsSync(kubetest)) return "needs Kubernetes: test/cluster/cluster.sh build";
  return undefined;
}

export interface ApiServerOptions {
  /**
   * Also runs the controller manager: Deployments and ReplicaSets make pods (which nothing schedules or runs), owners' garbage is
   * collected, namespaces get their default service account and end when they are deleted.
   * @default false
   */
  controllers?: boolean;
  /** Further flags of kube-apiserver. */
  flags?: readonly string[];
}

/** A kube-apiserver with an etcd of its own: RBAC, admission and service account tokens as in any cluster, and no nodes. */
export class TestApiServer {
  /** Everything of it; removed by `dispose`. */
  readonly folder: string;
  readonly url: string;
  readonly etcdUrl: string;
  /** Of a user in `system:masters`. */
  readonly adminToken = randomBytes(16).toString("hex");
  readonly #ports: { etcd: number; peer: number; api: number; controllers: number };
  readonly #options: ApiServerOptions;
  readonly #children = new Map<Part, ChildProcess>();

  private constructor(folder: string, ports: { etcd: number; peer: number; api: number; controllers: number }, options: ApiServerOptions) {
    this.folder = folder;
    this.#ports = ports;
    this.#options = options;
    this.url = `https://127.0.0.1:${ports.api}`;
    this.etcdUrl = `http://127.0.0.1:${ports.etcd}`;
  }

  /** Starts etcd and the API server on free ports of loopback; takes some seconds. @throws with its log when it does not come up */
  static async start(options: ApiServerOptions = {}): Promise<TestApiServer> {
    const folder = await mkdtemp(join(tmpdir(), "ks-api-server-"));
    const [etcd, peer, api, controllers] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const server = new TestApiServer(folder, { etcd, peer, api, controllers }, options);
    try {
      await server.#writeFiles();
      await server.resume();
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  /** The certificate that clients trust. */
  get caFile(): string {
    return join(this.folder, "pki/apiserver.crt");
  }

  /** Of a user who may do everything. */
  get kubeconfigFile(): string {
    return join(this.folder, "admin.kubeconfig");
  }

  /** Starts whatever of it does not run, on the same ports and with the same data. */
  async resume(): Promise<void> {
    this.#start("etcd");
    this.#start("apiserver");
    await this.#untilReady("apiserver", () => this.kubectl(["get", "--raw", "/readyz"]));
    if (this.#options.controllers !== true) return;
    this.#start("controllers");
    await this.#untilReady("controllers", () => this.kubectl(["get", "serviceaccount", "default", "--namespace", "default"]));
  }

  /** SIGKILL, as a crash would end it. `resume` brings it back. */
  async kill(part: Part): Promise<void> {
    await endProcess(this.#children.get(part), "SIGKILL");
  }

  /** Stops the process without ending it: its connections stay open and nothing comes any more. */
  freeze(part: Part): void {
    this.#children.get(part)?.kill("SIGSTOP");
  }

  thaw(part: Part): void {
    this.#children.get(part)?.kill("SIGCONT");
  }

  /** What kubectl prints. @throws with what it complains of */
  async kubectl(args: readonly string[], input = ""): Promise<string> {
    const running = promisify(execFile)(findOnPath("kubectl")!, ["--kubeconfig", this.kubeconfigFile, ...args], {
      maxBuffer: 64 * 1024 * 1024,
    });
    running.child.stdin?.end(input);
    return (await running).stdout;
  }

  /** Applies manifests: YAML of one or several documents, or objects. */
  async apply(manifests: string | readonly object[], ...args: string[]): Promise<string> {
    const text = typeof manifests === "string" ? manifests : JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests });
    return this.kubectl(["apply", "--server-side", "--force-conflicts", ...args, "-f", "-"], text);
  }

  /** A namespace in which pods can be made: with the service account that the controller manager would add. */
  async createNamespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.apply([
      { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } },
    ]);
  }

  /** A file with which a client comes as this service account, and may do what its roles allow. */
  async kubeconfigOf(namespace: string, serviceAccount: string): Promise<string> {
    const token = await this.kubectl(["create", "token", serviceAccount, "--namespace", namespace, "--duration", "24h"]);
    const file = join(this.folder, `${namespace}.${serviceAccount}.kubeconfig`);
    await writeFile(file, this.#kubeconfig(token.trim()), { mode: 0o600 });
    return file;
  }

  /** Ends all of it and removes its folder. */
  async dispose(): Promise<void> {
    for (const part of ["controllers", "apiserver", "etcd"] as const) await this.kill(part);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #writeFiles(): Promise<void> {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    await writeFile(join(this.folder, "sa.key"), privateKey, { mode: 0o600 });
    await writeFile(join(this.folder, "sa.pub"), publicKey);
    await writeFile(join(this.folder, "tokens.csv"), `${this.adminToken},admin,admin,"system:masters"\n`, { mode: 0o600 });
    await writeFile(this.kubeconfigFile, this.#kubeconfig(this.adminToken), { mode: 0o600 });
  }

  #kubeconfig(token: string): string {
    const cluster = { server: this.url, "certificate-authority": this.caFile };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "user", user: { token } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "user" } }],
      "current-context": "test",
    });
  }

  #start(part: Part): void {
    const old = this.#children.get(part);
    if (old !== undefined && !hasEnded(old)) return;
    const [command, args] = this.#command(part);
    const log = openSync(join(this.folder, `${part}.log`), "a");
    this.#children.set(part, spawnTied(command, args, { cwd: this.folder, stdio: ["ignore", log, log] }));
  }

  #command(part: Part): [command: string, args: string[]] {
    const { api, peer, controllers } = this.#ports;
    if (part === "etcd") {
      const peerUrl = `http://127.0.0.1:${peer}`;
      const data = ["--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn"];
      const client = [`--listen-client-urls=${this.etcdUrl}`, `--advertise-client-urls=${this.etcdUrl}`];
      const cluster = [`--listen-peer-urls=${peerUrl}`, `--initial-advertise-peer-urls=${peerUrl}`, `--initial-cluster=default=${peerUrl}`];
      return [findOnPath("etcd")!, [...data, ...client, ...cluster]];
    }
    if (part === "controllers") {
      const keys = ["--service-account-private-key-file=sa.key", `--root-ca-file=${this.caFile}`];
      const listen = ["--bind-address=127.0.0.1", `--secure-port=${controllers}`];
      return [kubetest, ["controller-manager", `--kubeconfig=${this.kubeconfigFile}`, "--leader-elect=false", ...keys, ...listen]];
    }
    const listen = ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", `--secure-port=${api}`, "--cert-dir=pki"];
    const tokens = ["--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key"];
    const issuer = ["--service-account-issuer=https://kubernetes.default.svc", "--token-auth-file=tokens.csv"];
    // Without nodes nobody reaches it by its Service, and loopback may not stand in Endpoints.
    const service = ["--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16"];
    const rules = ["--authorization-mode=Node,RBAC", "--allow-privileged=true", `--etcd-servers=${this.etcdUrl}`];
    return [kubetest, ["apiserver", ...listen, ...tokens, ...issuer, ...service, ...rules, ...(this.#options.flags ?? [])]];
  }

  async #untilReady(part: Part, isReady: () => Promise<unknown>): Promise<void> {
    const limit = performance.now() + START_LIMIT_MS;
    for (;;) {
      try {
        await isReady();
        return;
      } catch (error) {
        const dead = [...this.#children].find(([, child]) => hasEnded(child))?.[0];
        if (dead !== undefined || performance.now() > limit) {
          const log = readFileSync(join(this.folder, `${dead ?? part}.log`), "utf8");
          throw new Error(`${dead ?? part} did not come up:\n${log.slice(-4_000)}`, { cause: error });
        }
        await pause(100);
      }
    }
  }
}

export type Part = "etcd" | "apiserver" | "controllers";
