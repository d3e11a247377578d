import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";
import type { RequestHead } from "./request-head.ts";

/** Sets `x-forwarded-*`; a caller's own are kept only from a trusted proxy. */
export class Forwarding {
  readonly #trusted: BlockList | undefined;
  readonly #proto: "http" | "https";

  /** @param trustedProxies addresses or networks such as `10.0.0.0/8`; checked by the config schema. */
  constructor(trustedProxies: readonly string[], proto: "http" | "https") {
    this.#trusted = trustedProxies.length === 0 ? undefined : buildBlockList(trustedProxies);
    this.#proto = proto;
  }

  /** Address of who made the request: the last one that no trusted proxy has. */
  clientAddress(req: IncomingMessage): string {
    const address = plainAddress(req.socket.remoteAddress ?? "");
    if (!this.#trusts(address)) return address;
    const hops = req.headers["x-forwarded-for"];
    const before = (typeof hops === "string" ? hops : "").split(",").map((hop) => plainAddress(hop.trim()));
    return before.findLast((hop) => isIP(hop) !== 0 && !this.#trusts(hop)) ?? address;
  }

  /** hot */
  apply(req: IncomingMessage, head: RequestHead): void {
    const { headers } = head;
    const address = plainAddress(req.socket.remoteAddress ?? "");
    const trusted = this.#trusts(address);
    const before = trusted ? headers["x-forwarded-for"] : undefined;
    headers["x-forwarded-for"] = before === undefined ? address : `${before}, ${address}`;
    if (!trusted || headers["x-forwarded-proto"] === undefined) headers["x-forwarded-proto"] = this.#proto;
    if (!trusted || headers["x-forwarded-host"] === undefined) headers["x-forwarded-host"] = head.host ?? "";
  }

  /** Where the caller reached us, as far as the proxy in front can be believed: `https://functions.example.com`. */
  originOf(req: IncomingMessage, { headers, host = "localhost" }: RequestHead, authority: string | undefined): string {
    const trusted = this.#trusts(plainAddress(req.socket.remoteAddress ?? ""));
    const told = (name: string): string | undefined => (trusted ? headers[name]?.split(",")[0]?.trim() : undefined);
    return `${told("x-forwarded-proto") ?? this.#proto}://${told("x-forwarded-host") ?? authority ?? host}`;
  }

  /** hot */
  #trusts(address: string): boolean {
    return this.#trusted !== undefined && address !== "" && this.#trusted.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  }
}

/** An IPv4 address that came over IPv6 is written as IPv4. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

function buildBlockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address, prefix] = network.split("/");
    const family = isIP(address!) === 6 ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address!, family);
    else list.addSubnet(address!, Number(prefix), family);
  }
  return list;
}
