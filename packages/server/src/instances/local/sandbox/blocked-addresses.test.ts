import assert from "node:assert/strict";
import { test } from "node:test";
import { buildBlockScript, listBlockedAddresses } from "./blocked-addresses.ts";

const address = (text: string, family: "IPv4" | "IPv6") => ({
  address: text,
  family,
  internal: false,
  netmask: "",
  mac: "",
  cidr: null,
  scopeid: 0,
});

test("loopback, metadata services and every address of the host are blocked, once each", () => {
  const blocked = listBlockedAddresses({
    lo: [address("127.0.0.1", "IPv4")],
    eth0: [address("192.168.1.5", "IPv4"), address("2001:db8::5", "IPv6"), address("fe80::1%eth0", "IPv6")],
    docker0: [address("192.168.1.5", "IPv4")],
  });
  for (const expected of [
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1/128",
    "fd00:ec2::254/128",
    "192.168.1.5/32",
    "2001:db8::5/128",
    "fe80::1/128",
  ]) {
    assert.equal(blocked.filter((one) => one === expected).length, 1, expected);
  }
});

test("what is not an address never gets into the script", () => {
  const blocked = listBlockedAddresses({ eth0: [address("1.2.3.4; reboot", "IPv4")] });
  assert.ok(!buildBlockScript(blocked).includes("reboot"));
});
