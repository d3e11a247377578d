import type { RuntimeInfo } from "@kube-serverless/contracts";
import type { SandboxStrength } from "../instances/local/sandbox/port.ts";

export interface BannerFacts {
  version: string;
  addresses: readonly { host: string; port: number }[];
  secure: boolean;
  dataFolder: string;
  runtimes: readonly RuntimeInfo[];
  /** Undefined where replicas are pods. */
  sandbox: SandboxStrength | undefined;
  queues: string;
  /** Whether callers are asked for a key. */
  auth: boolean;
  /** Made at this start; shown once. */
  newAdminKey: string | undefined;
}

const NETWORKS: Record<SandboxStrength["network"], string> = {
  pasta: "a network of its own, out by pasta, this machine's loopback unreachable",
  slirp4netns: "a network of its own, out by slirp4netns, this machine's loopback unreachable",
  host: "this machine's own network (install passt or slirp4netns for one apart)",
};

const MEMORY: Record<SandboxStrength["memory"], string> = {
  "cgroup-v1": "memory limited by cgroup",
  "cgroup-v2": "memory limited by cgroup",
  polled: "memory polled ten times a second",
};

/** `http://127.0.0.1:8080` */
export function formatAddress({ host, port }: { host: string; port: number }, secure: boolean): string {
  return `${secure ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What a person wants to see when the server is up, and three commands to try. */
export function formatBanner(facts: BannerFacts): string {
  const urls = facts.addresses.map((address) => formatAddress(address, facts.secure));
  const url = urls[0] ?? "";
  return [
    "",
    `  Kube-Serverless ${facts.version}`,
    "",
    `  listening   ${urls.join("  ")}`,
    `  data        ${facts.dataFolder}`,
    `  runtimes    ${facts.runtimes.map(formatRuntime).join("\n              ")}`,
    ...describeIsolation(facts.sandbox),
    `  queues      ${facts.queues}`,
    `  access      ${describeAccess(facts)}`,
    `  reference   ${url}/docs`,
    "",
    ...showKey(facts.newAdminKey),
    "  Try it:",
    "",
    ...commandsToTry(url, facts.auth).map((command) => `  ${command}`),
    "",
  ].join("\n");
}

function formatRuntime({ name, version, exact, available, hint }: RuntimeInfo): string {
  if (!available) return `${name.padEnd(10)} not installed. ${hint}`;
  return exact ? `${name.padEnd(10)} ${version}` : `${name.padEnd(10)} ${version} (the nearest newer version that is installed)`;
}

function describeIsolation(sandbox: SandboxStrength | undefined): string[] {
  if (sandbox === undefined) return ["  sandbox     pods of the cluster"];
  return [`  sandbox     ${describeSandbox(sandbox)}`, `  network     ${NETWORKS[sandbox.network]}`];
}

function describeSandbox({ driver, memory }: SandboxStrength): string {
  if (driver === "bubblewrap") return `bubblewrap, ${MEMORY[memory]}`;
  return `plain processes, ${MEMORY[memory]}: functions can read what you can read (install bubblewrap for more)`;
}

function describeAccess({ auth }: BannerFacts): string {
  return auth ? "for callers with an API key or a token" : "for everybody who reaches it (--auth asks for a key)";
}

function showKey(key: string | undefined): string[] {
  if (key === undefined) return [];
  return ["  The first admin key, shown this once; keep it, as it makes all others:", "", `  export KS_KEY=${key}`, ""];
}

/** Deploy, call, look. */
export function commandsToTry(url: string, auth: boolean): string[] {
  const key = auth ? ' -H "Authorization: Bearer $KS_KEY"' : "";
  const json = `-H 'Content-Type: application/json'${key}`;
  return [
    `curl -X POST ${url}/api/v1/functions ${json} -d '{"name": "hello", "runtime": "nodejs18", "handler": "index.handler", "code": "exports.handler = async (event) => ({ statusCode: 200, body: { hello: event.body } });"}'`,
    `curl -X POST ${url}/api/v1/functions/hello/invoke ${json} -d '{"name": "world"}'`,
    `curl${key} ${url}/api/v1/functions/hello/logs`,
  ];
}
