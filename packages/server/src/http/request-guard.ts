import { BlockList, isIP } from "node:net";
import { KsError } from "@kube-serverless/contracts";

export interface GuardOptions {
  allowedOrigins: readonly string[];
  allowedHosts: readonly string[];
  /** False where whoever reaches the port may do everything anyway: no check of Origin and Host. */
  enforced: boolean;
  /** By which names functions are called. */
  functionHosts: FunctionHosts;
}

export interface FunctionHosts {
  /** `<function>.<namespace>`, with or without `.svc` and `.svc.<domain>`. */
  namespace: string;
  domain: string;
  /** In a cluster pods of that namespace call a function by its mere name; this one is the platform's own. */
  platformName?: string;
}

/** Where a Host header points: at the platform, or at a function by its name. */
export type HostTarget = { kind: "platform" } | { kind: "function"; name: string };

const PLATFORM: HostTarget = { kind: "platform" };
const LABEL = /^[a-z0-9-]{1,63}$/;
const MAX_CACHED_HOSTS = 1000;

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Keeps web pages of other origins, and rebound names, from an API without authentication. */
export class RequestGuard {
  readonly #options: GuardOptions;
  readonly #allowedHosts: ReadonlySet<string>;
  readonly #allowedOrigins: ReadonlySet<string>;
  readonly #hosts = new Map<string, HostTarget>();
  /** What follows the function's name; the longest last. */
  readonly #suffixes: readonly string[];

  constructor(options: GuardOptions) {
    this.#options = options;
    const { namespace, domain } = options.functionHosts;
    this.#suffixes = [`.${namespace}`, `.${namespace}.svc`, `.${namespace}.svc.${domain.toLowerCase()}`];
    this.#allowedHosts = new Set(options.allowedHosts.map((host) => host.toLowerCase()));
    this.#allowedOrigins = new Set(options.allowedOrigins.map((origin) => origin.toLowerCase()));
  }

  /** hot: host as sent, with or without port. @throws KsError `FORBIDDEN`, `BAD_REQUEST` */
  classifyHost(host: string): HostTarget {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const target = this.#classify(host);
    if (this.#hosts.size >= MAX_CACHED_HOSTS) this.#hosts.clear();
    this.#hosts.set(host, target);
    return target;
  }

  /** @throws KsError `FORBIDDEN` for what a web page of another site sends. */
  checkOrigin(origin: string | undefined, fetchSite: string | undefined): void {
    if (!this.#options.enforced) return;
    if (origin !== undefined) {
      if (this.#allowedOrigins.has(origin.toLowerCase())) return;
      if (!isLoopbackOrigin(origin))
        throw new KsError("FORBIDDEN", {
          message: "Forbidden: pages of this origin may not call the server. Name it in --allowed-origins",
        });
      return;
    }
    if (fetchSite === "cross-site") throw new KsError("FORBIDDEN", { message: "Forbidden: a page of another site made this request" });
  }

  #findFunction(host: string): string | undefined {
    const { platformName } = this.#options.functionHosts;
    const suffix = this.#suffixes.find((ending) => host.endsWith(ending));
    if (suffix !== undefined) return readLabel(host.slice(0, -suffix.length));
    const isOther = platformName === undefined || host === platformName || host === "localhost" || this.#allowedHosts.has(host);
    return isOther ? undefined : readLabel(host);
  }

  #classify(host: string): HostTarget {
    const name = parseHostName(host);
    const called = this.#findFunction(name);
    if (called !== undefined) return { kind: "function", name: called };
    if (!this.#options.enforced || this.#allowedHosts.has(name) || isLoopbackName(name)) return PLATFORM;
    throw new KsError("FORBIDDEN", {
      message: `Forbidden: this server does not answer for this Host. Use localhost, <function>${this.#suffixes.at(-1)}, or name it in --allowed-hosts`,
    });
  }
}

function readLabel(text: string): string | undefined {
  return LABEL.test(text) ? text : undefined;
}

/** Lower case, without port and final dot. */
function parseHostName(host: string): string {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(host);
  if (match === null) throw new KsError("BAD_REQUEST", { message: "Bad request: the Host header is not a host" });
  return match[1]!.toLowerCase().replace(/\.$/, "");
}

function isLoopbackName(name: string): boolean {
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  const address = name.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 4 ? "ipv4" : "ipv6");
}

function isLoopbackOrigin(origin: string): boolean {
  try {
    return isLoopbackName(new URL(origin).hostname);
  } catch {
    return false;
  }
}
