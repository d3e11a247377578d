import { testSandbox } from "./suite.ts";
import { isRoot, whyNot } from "./support.ts";

const skip = whyNot("bwrap", "pasta", "ip", "python3");

testSandbox({
  name: "plain",
  options: { mode: "plain" },
  skip: whyNot("python3"),
  strength: { driver: "plain", network: "host", memory: "polled" },
});

testSandbox({
  name: "bubblewrap, as far as this user can",
  options: { mode: "require" },
  skip,
  strength: isRoot
    ? { driver: "bubblewrap", network: "pasta", degraded: [] }
    : { driver: "bubblewrap", network: "pasta", memory: "polled" },
});

testSandbox({
  name: "bubblewrap without control groups, on the host's network",
  options: { mode: "require", memory: "polled", network: "host" },
  skip,
  strength: { driver: "bubblewrap", network: "host", memory: "polled", degraded: ["network-host", "memory-polled"] },
});
