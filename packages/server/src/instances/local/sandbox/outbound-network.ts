import { type ChildProcess, spawn } from "node:child_process";
import { networkInterfaces } from "node:os";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { buildBlockScript, listBlockedAddresses } from "./blocked-addresses.ts";
import { findProgram } from "./find-program.ts";
import type { SandboxLog } from "./options.ts";
import type { OwnerRecord } from "./owner.ts";
import { killQuietly } from "./process-tree.ts";

export type OutboundHelper = "pasta" | "slirp4netns";

export interface OutboundNetworkOptions {
  helper: OutboundHelper;
  /** Whom the namespace and the helper belong to, where the server may choose. */
  uid: number | undefined;
  owner: OwnerRecord;
  log: SandboxLog;
}

const START_TIMEOUT_MS = 10_000;
const RESTART_DELAY_MS = 250;
const MAX_RESTART_DELAY_MS = 30_000;
const ADDRESS_CHECK_MS = 10_000;
/** An address that no network has (RFC 2544 keeps it for measurements): pasta passes what is sent there to the host's resolver. */
const PASTA_DNS = "198.18.0.53";
const SLIRP_DNS = "10.0.2.3";

/**
 * The network of all replicas that may call out: a namespace of the platform's own, without a loopback, with one
 * helper process as its way out. What of it dies is made again; replicas of a lost namespace stay without network.
 */
export class OutboundNetwork {
  readonly helper: OutboundHelper;
  readonly nameserver: string;
  readonly #options: OutboundNetworkOptions;
  #holder: ChildProcess | undefined;
  #guard: ChildProcess | undefined;
  #blocked: readonly string[] = [];
  #isUp = false;
  #isStopped = false;
  #addressTimer: NodeJS.Timeout | undefined;

  constructor(options: OutboundNetworkOptions) {
    this.#options = options;
    this.helper = options.helper;
    this.nameserver = options.helper === "pasta" ? PASTA_DNS : SLIRP_DNS;
  }

  /** Whether replicas can reach anything just now. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** The process whose namespaces these are. */
  get holderPid(): number {
    return this.#holder?.pid ?? 0;
  }

  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#addressTimer = setInterval(() => void this.#blockNewAddresses(), ADDRESS_CHECK_MS).unref();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#isUp = false;
    clearInterval(this.#addressTimer);
    await Promise.all([endGroup(this.#guard), endGroup(this.#holder)]);
  }

  /** A shell in the namespace, which reads what to do from us and ends with us. */
  #startHolder(): ChildProcess {
    const unshare = ["--user", "--map-current-user", "--keep-caps", "--net", "--", "/bin/sh"];
    const holder = this.#spawn([findProgram("unshare") ?? "unshare", ...unshare], ["pipe", "pipe", "ignore"]);
    // Without it nobody else can enter: the helper is ended, too, and all made again.
    holder.once("exit", () => void endGroup(this.#guard));
    return holder;
  }

  async #connect(): Promise<void> {
    if (!isRunning(this.#holder)) {
      this.#holder = this.#startHolder();
      await this.#run("echo");
    }
    const guard = this.#startHelper();
    this.#guard = guard;
    const ended = new Promise<never>((_, reject) => {
      guard.once("exit", (code) => reject(new Error(`${this.helper} ended with ${code}: ${errors.text().trim()}`)));
    });
    const errors = collectTail(guard.stderr as Readable);
    ended.catch(() => undefined);
    await Promise.race([this.#waitForRoute(), ended]);
    this.#blocked = listBlockedAddresses(networkInterfaces());
    // The helper has brought the loopback up, on which replicas would reach each other.
    await this.#run(`ip link set lo down; ${buildBlockScript(this.#blocked)}`);
    if (!isRunning(guard)) throw new Error(`${this.helper} ended with ${guard.exitCode}: ${errors.text().trim()}`);
    this.#isUp = true;
    guard.once("exit", () => void this.#reconnect(errors.text()));
  }

  async #reconnect(reason: string): Promise<void> {
    this.#isUp = false;
    for (let waitMs = RESTART_DELAY_MS; !this.#isStopped; waitMs = Math.min(waitMs * 2, MAX_RESTART_DELAY_MS)) {
      this.#options.log.warn(
        { helper: this.helper, reason: reason.trim() },
        "the network helper ended: replicas have no network until it is back",
      );
      try {
        await this.#connect();
        this.#options.log.info({ helper: this.helper }, "the network helper is back");
        return;
      } catch (error) {
        reason = String(error);
        await endGroup(this.#guard);
        await delay(waitMs, undefined, { ref: false });
      }
    }
  }

  /** The helper under a shell that ends it when the server is gone: its own death signal is lost as it changes namespaces. */
  #startHelper(): ChildProcess {
    const program = findProgram(this.helper) ?? this.helper;
    const script =
      '"$@" & helper=$!; { read -r _ <&3; kill -9 $helper; } & reader=$!; exec 3<&-; wait $helper; code=$?; kill -9 $reader; exit $code';
    return this.#spawn(["/bin/sh", "-c", script, "sh", program, ...this.#helperArguments()], ["ignore", "ignore", "pipe", "pipe"]);
  }

  #helperArguments(): string[] {
    const target = String(this.holderPid);
    if (this.helper === "slirp4netns") return ["--configure", "--mtu=65520", "--disable-host-loopback", target, "tap0"];
    const noPorts = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"];
    return ["--foreground", "--stderr", "--quiet", "--config-net", ...noPorts, "--no-map-gw", "--dns-forward", PASTA_DNS, target];
  }

  #spawn(command: readonly string[], stdio: ("pipe" | "ignore")[]): ChildProcess {
    const { uid } = this.#options;
    const [program = "", ...args] = command;
    const child = spawn(program, args, {
      cwd: "/",
      detached: true,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      stdio,
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    child.on("error", (error) => this.#options.log.warn({ program, error: error.message }, "a network helper can't be started"));
    for (const stream of child.stdio) stream?.on("error", () => undefined);
    if (child.pid !== undefined) {
      const forget = this.#options.owner.noteGroup(child.pid);
      child.once("exit", forget);
    }
    return child;
  }

  async #waitForRoute(): Promise<void> {
    const deadlineMs = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const routes = await this.#run("ip route show default; ip -6 route show default");
      if (routes.includes("default")) return;
      if (performance.now() > deadlineMs) throw new Error(`${this.helper} has made no route within ${START_TIMEOUT_MS / 1000} s`);
      await delay(20);
    }
  }

  /** Runs a line of shell in the namespace and tells what it printed. */
  async #run(script: string): Promise<string> {
    const holder = this.#holder;
    if (!isRunning(holder)) throw new Error("the network namespace can't be made");
    return runLine(holder, script);
  }

  /** Addresses that the host got since, such as those of a bridge or a new network. */
  async #blockNewAddresses(): Promise<void> {
    const addresses = listBlockedAddresses(networkInterfaces());
    const added = addresses.filter((address) => !this.#blocked.includes(address));
    if (added.length === 0 || !this.#isUp) return;
    try {
      await this.#run(buildBlockScript(added));
      this.#blocked = addresses;
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, "new addresses of the host can't be kept from replicas");
    }
  }
}

async function runLine(shell: ChildProcess, script: string): Promise<string> {
  const stdout = shell.stdout as Readable;
  const endMark = "\u0004\n";
  return new Promise((resolve, reject) => {
    let text = "";
    const finish = (settle: () => void) => {
      stdout.off("data", onData);
      shell.off("exit", onExit);
      shell.off("error", onExit);
      settle();
    };
    const onData = (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.endsWith(endMark)) finish(() => resolve(text.slice(0, -endMark.length)));
    };
    const onExit = () => finish(() => reject(new Error("the network namespace can't be made")));
    stdout.on("data", onData);
    shell.on("exit", onExit);
    shell.on("error", onExit);
    (shell.stdin as Writable).write(`{ ${script}; } 2>/dev/null; printf '\\004\\n'\n`);
  });
}

function collectTail(stream: Readable): { text(): string } {
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-2_000);
  });
  return { text: () => text.replaceAll(/Failed to send \d+ bytes to syslog\n/g, "") };
}

function isRunning(child: ChildProcess | undefined): child is ChildProcess & { pid: number } {
  return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function endGroup(child: ChildProcess | undefined): Promise<void> {
  if (!isRunning(child)) return;
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
  });
  killQuietly(-child.pid);
  await ended;
}
