import { join } from "node:path";
import { KUBERNETES_OPTIONS } from "./kubernetes-options.ts";
import { declareOption, type DefaultContext, type Option } from "./option.ts";
import { SECURITY_OPTIONS } from "./security-options.ts";
import {
  parseChoice,
  parseDurationMs,
  parseHost,
  parseInteger,
  parseList,
  parseMemoryMiB,
  parseNetwork,
  parseOptionalFile,
  parseOptionalText,
  parseOrigin,
  parsePath,
  parsePoolSize,
  parsePrice,
  parseRuntimePath,
  parseSwitch,
  parseUidRange,
  parseUrl,
} from "./values.ts";

/** `$XDG_DATA_HOME/kube-serverless` where that is set, else below the home folder. */
function dataFolder({ environment, homeFolder }: DefaultContext): string {
  const shared = environment["XDG_DATA_HOME"];
  return join(shared?.startsWith("/") ? shared : join(homeFolder, ".local", "share"), "kube-serverless");
}

/** Every option of the server. The key is the field of the configuration, which says the unit. */
export const OPTIONS = {
  hosts: declareOption("host", {
    group: "Listening",
    placeholder: "ADDRESS",
    help: "Addresses to listen on. Beyond loopback needs --auth, or --insecure-no-auth.",
    default: "127.0.0.1,::1",
    isList: true,
    parse: parseList(parseHost),
  }),
  port: declareOption("port", {
    group: "Listening",
    placeholder: "PORT",
    help: "Port of the control API, of invocations and of HTTP triggers; 0 takes a free one and logs it.",
    default: "8080",
    parse: parseInteger(0, 65535),
  }),
  tlsCertFile: declareOption("tls-cert", {
    group: "Listening",
    placeholder: "FILE",
    help: "Certificate chain in PEM; with --tls-key, the server speaks HTTPS.",
    parse: parseOptionalFile,
  }),
  tlsKeyFile: declareOption("tls-key", {
    group: "Listening",
    placeholder: "FILE",
    help: "Private key in PEM of --tls-cert.",
    parse: parseOptionalFile,
  }),
  trustedProxies: declareOption("trusted-proxies", {
    group: "Listening",
    placeholder: "NETWORK",
    help: "Proxies whose X-Forwarded-* headers are kept, such as 10.0.0.0/8; anyone else's are replaced.",
    default: "",
    isList: true,
    parse: parseList(parseNetwork),
  }),
  keepAliveTimeoutMs: declareOption("keep-alive-timeout", {
    group: "Listening",
    placeholder: "TIME",
    help: "How long an idle connection stays open; above what a load balancer in front waits.",
    default: "75s",
    parse: parseDurationMs(1000),
  }),
  shutdownTimeoutMs: declareOption("shutdown-timeout", {
    group: "Listening",
    placeholder: "TIME",
    help: "How long running calls may finish after SIGTERM; above the longest timeout of a function that matters.",
    default: "35s",
    parse: parseDurationMs(0),
  }),
  ...SECURITY_OPTIONS,
  insecureNoAuth: declareOption("insecure-no-auth", {
    group: "Safety",
    help: "Allows --host beyond loopback without --auth, and any Origin and Host, although whoever reaches the port may run code.",
    default: "false",
    parse: parseSwitch,
  }),
  allowedOrigins: declareOption("allowed-origins", {
    group: "Safety",
    placeholder: "ORIGIN",
    help: "Web origins beyond loopback whose pages may call the server, such as https://console.example.com.",
    default: "",
    isList: true,
    parse: parseList(parseOrigin),
  }),
  allowedHosts: declareOption("allowed-hosts", {
    group: "Safety",
    placeholder: "HOST",
    help: "Names beside localhost and the functions' own by which the server may be called.",
    default: "",
    isList: true,
    parse: parseList(parseHost),
  }),
  sandbox: declareOption("sandbox", {
    group: "Safety",
    placeholder: "MODE",
    help: "auto: bubblewrap where it works, else plain processes with a warning. require: bubblewrap or no start. plain: never.",
    default: "auto",
    parse: parseChoice(["auto", "require", "plain"]),
  }),
  sandboxNetwork: declareOption("sandbox-network", {
    group: "Safety",
    placeholder: "MODE",
    help: "Way out of functions with network 'outbound': auto takes pasta, else slirp4netns, else the host's network.",
    default: "auto",
    parse: parseChoice(["auto", "pasta", "slirp4netns", "host"]),
  }),
  uidRange: declareOption("uid-range", {
    group: "Safety",
    placeholder: "FIRST-LAST",
    help: "Started as root: unprivileged user ids that nothing else uses, one for each replica at a time.",
    default: "70000-79999",
    parse: parseUidRange,
  }),
  dataFolder: declareOption("data-dir", {
    group: "Data",
    placeholder: "FOLDER",
    help: "Where functions, messages, metrics and logs are kept; one server at a time.",
    default: "~/.local/share/kube-serverless",
    fallback: dataFolder,
    parse: parsePath,
  }),
  goCacheMiB: declareOption("go-cache-size", {
    group: "Data",
    placeholder: "SIZE",
    help: "Bound of the compiled Go functions in the data folder; what was used longest ago goes first.",
    default: "2GiB",
    parse: parseMemoryMiB(64),
  }),
  queueTimeoutMs: declareOption("queue-timeout", {
    group: "Calls",
    placeholder: "TIME",
    help: "How long a call waits for a place in a replica before it is answered 503 NO_CAPACITY.",
    default: "60s",
    parse: parseDurationMs(1),
  }),
  maxQueuedCalls: declareOption("max-queued-calls", {
    group: "Calls",
    placeholder: "N",
    help: "Calls of one function that may wait at once; further ones are answered 429 OVERLOADED.",
    default: "1000",
    parse: parseInteger(0, 1_000_000),
  }),
  maxQueuedMiB: declareOption("max-queued-size", {
    group: "Calls",
    placeholder: "SIZE",
    help: "Bodies of one function's waiting calls together; beyond it 429 OVERLOADED.",
    default: "64MiB",
    parse: parseMemoryMiB(1),
  }),
  maxBodiesMiB: declareOption("max-bodies-size", {
    group: "Calls",
    placeholder: "SIZE",
    help: "Request bodies that the server holds at once, of all calls together; beyond it 429 OVERLOADED.",
    default: "512MiB",
    parse: parseMemoryMiB(8),
  }),
  idleTimeoutMs: declareOption("idle-timeout", {
    group: "Replicas",
    placeholder: "TIME",
    help: "How long a function without calls keeps replicas above its minReplicas.",
    default: "60s",
    parse: parseDurationMs(100),
  }),
  maxReplicas: declareOption("max-replicas", {
    group: "Replicas",
    placeholder: "N",
    help: "Processes of all functions together, waiting and draining ones included.",
    default: "1000",
    parse: parseInteger(1, 100_000),
  }),
  maxMemoryMiB: declareOption("max-memory", {
    group: "Replicas",
    placeholder: "SIZE",
    help: "Memory that all replicas together may be given, as a size or as a part of what the machine or its cgroup has.",
    default: "80%",
    parse: parseMemoryMiB(64),
  }),
  poolSize: declareOption("pool-size", {
    group: "Replicas",
    placeholder: "N",
    help: "Replicas of each installed runtime that wait, ready to take any function; 0 starts each one when it is needed.",
    default: "2",
    parse: parseInteger(0, 1000),
  }),
  pools: declareOption("pool", {
    group: "Replicas",
    placeholder: "RUNTIME[@MIB]=N",
    help: "Waiting replicas of single runtimes and memory classes, such as nodejs18=4,python39=2,nodejs18@512=1.",
    default: "",
    isList: true,
    parse: parseList(parsePoolSize),
  }),
  strictRuntimes: declareOption("strict-runtimes", {
    group: "Runtimes",
    help: "Refuses a function whose runtime is not installed in exactly that version, instead of taking the nearest newer one.",
    default: "false",
    parse: parseSwitch,
  }),
  runtimePaths: declareOption("runtime-path", {
    group: "Runtimes",
    placeholder: "RUNTIME=PATH",
    help: "Program of a runtime that is not on PATH, such as python39=/opt/python3.9/bin/python3.9.",
    default: "",
    isList: true,
    parse: parseList(parseRuntimePath),
  }),
  amqpUrl: declareOption("amqp-url", {
    group: "Queues",
    placeholder: "URL",
    help: "RabbitMQ for queue triggers, amqp:// or amqps://; without it the embedded durable queue. Better given as KS_AMQP_URL, as flags show in ps.",
    parse: parseUrl(["amqp:", "amqps:"]),
  }),
  logLevel: declareOption("log-level", {
    group: "Observing",
    placeholder: "LEVEL",
    help: "Least level of the server's own log that is written.",
    default: "info",
    parse: parseChoice(["trace", "debug", "info", "warn", "error", "silent"]),
  }),
  logFormat: declareOption("log-format", {
    group: "Observing",
    placeholder: "FORMAT",
    help: "auto: pretty on a terminal, else one JSON object a line.",
    default: "auto",
    parse: parseChoice(["auto", "json", "pretty"]),
  }),
  otlpEndpoint: declareOption("otlp-endpoint", {
    group: "Observing",
    variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
    placeholder: "URL",
    help: "Where spans are sent by OTLP over HTTP, such as http://127.0.0.1:4318.",
    parse: parseUrl(["http:", "https:"]),
  }),
  costPerGbSecond: declareOption("cost-per-gb-second", {
    group: "Costs",
    placeholder: "USD",
    help: "Price behind costEstimate: a GB of memory for a second of handler time.",
    default: "0.0000166667",
    parse: parsePrice,
  }),
  costPerInvocation: declareOption("cost-per-invocation", {
    group: "Costs",
    placeholder: "USD",
    help: "Price behind costEstimate: one invocation.",
    default: "0.0000002",
    parse: parsePrice,
  }),
  ...KUBERNETES_OPTIONS,
  failpoint: declareOption("failpoint", {
    group: "Testing",
    placeholder: "NAME",
    help: "Kills the server at the named point, for tests of recovery.",
    hidden: true,
    parse: parseOptionalText,
  }),
} as const;

type Declared = typeof OPTIONS;

/** The whole configuration: every value there, checked, in the unit its name says. */
export type Config = { readonly [K in keyof Declared]: Declared[K] extends Option<infer T> ? T : never };

export type ConfigKey = keyof Config;
