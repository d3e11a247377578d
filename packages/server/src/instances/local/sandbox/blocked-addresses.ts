import { isIP } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";

/**
 * What no function may call: loopback, link-local with the metadata services of clouds in it, and their one address
 * of IPv6 that is not link-local.
 */
const ALWAYS_BLOCKED = [
  "127.0.0.0/8",
  "0.0.0.0/8",
  "169.254.0.0/16",
  "::1/128",
  "::/128",
  "::ffff:0:0/96",
  "fe80::/10",
  "fd00:ec2::254/128",
];

/** Those, and every address of the host itself, as services often listen on all of them. */
export function listBlockedAddresses(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): string[] {
  const own = Object.values(interfaces)
    .flatMap((addresses) => addresses ?? [])
    .map(({ address }) => address.split("%")[0] ?? "")
    .filter((address) => isIP(address) !== 0)
    .map((address) => `${address}/${isIP(address) === 4 ? 32 : 128}`);
  return [...new Set([...ALWAYS_BLOCKED, ...own])];
}

/**
 * Shell commands that make what is sent there fail at once, in the namespace they run in. Rules come before routes,
 * but for the one of local addresses, which is therefore moved behind them.
 */
export function buildBlockScript(addresses: readonly string[]): string {
  const families = ["-4", "-6"].flatMap((family) => [
    `ip ${family} rule show pref 20 | grep -q . || ip ${family} rule add pref 20 lookup local`,
    `ip ${family} rule del pref 0 lookup local`,
  ]);
  const rules = addresses.map((address) => {
    const family = address.includes(":") ? "-6" : "-4";
    return `ip ${family} rule show pref 10 to ${address} | grep -q . || ip ${family} rule add pref 10 iif lo to ${address} unreachable`;
  });
  return [...families, ...rules].join("; ");
}
