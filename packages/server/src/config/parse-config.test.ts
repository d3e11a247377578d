import assert from "node:assert/strict";
import { test } from "node:test";
import { OPTIONS } from "./options.ts";
import { type ConfigInput, type ConfigResult, isLoopback, parseConfig } from "./parse-config.ts";

function parse(argv: string[], rest: Partial<ConfigInput> = {}): ConfigResult {
  return parseConfig({
    argv,
    environment: {},
    homeFolder: "/home/ada",
    currentFolder: "/here",
    machineMemoryMiB: 1000,
    readFile: (path) => assert.fail(`reads ${path}`),
    isProgram: (path) => path.startsWith("/opt/"),
    ...rest,
  });
}

function expectConfig(result: ConfigResult) {
  assert.ok(result.kind === "config", JSON.stringify(result));
  return result.config;
}

function expectProblems(result: ConfigResult): readonly string[] {
  assert.ok(result.kind === "problems", JSON.stringify(result));
  return result.problems;
}

test("defaults are the documented ones", () => {
  const config = expectConfig(parse([]));
  assert.deepEqual(config.hosts, ["127.0.0.1", "::1"]);
  assert.equal(config.queueTimeoutMs, 60_000);
  assert.equal(config.shutdownTimeoutMs, 35_000);
  assert.equal(config.maxMemoryMiB, 800);
  assert.equal(config.dataFolder, "/home/ada/.local/share/kube-serverless");
});

test("XDG_DATA_HOME moves the data folder, unless it is relative", () => {
  assert.equal(expectConfig(parse([], { environment: { XDG_DATA_HOME: "/data" } })).dataFolder, "/data/kube-serverless");
  assert.match(expectConfig(parse([], { environment: { XDG_DATA_HOME: "data" } })).dataFolder, /^\/home\/ada/);
});

test("a flag wins over a variable, a variable over the file, the file over the default", () => {
  const file = { readFile: () => JSON.stringify({ port: 1001, "log-level": "warn", "idle-timeout": "2m" }) };
  const environment = { KS_PORT: "1002", KS_LOG_LEVEL: "error", KS_CONFIG: "settings.json" };
  const config = expectConfig(parse(["--port", "1003"], { ...file, environment }));
  assert.equal(config.port, 1003);
  assert.equal(config.logLevel, "error");
  assert.equal(config.idleTimeoutMs, 120_000);
  assert.equal(config.maxReplicas, 1000);
});

test("lists add up over repeated flags and commas, and take arrays and objects from the file", () => {
  const flags = expectConfig(parse(["--pool", "nodejs18=4,python39=2", "--pool=nodejs18@512=1"]));
  assert.deepEqual(flags.pools, [
    { runtime: "nodejs18", memoryMiB: undefined, size: 4 },
    { runtime: "python39", memoryMiB: undefined, size: 2 },
    { runtime: "nodejs18", memoryMiB: 512, size: 1 },
  ]);
  const readFile = () => JSON.stringify({ pool: { nodejs18: 4 }, "allowed-hosts": ["a.example", "b.example"], "insecure-no-auth": true });
  const file = expectConfig(parse(["--config", "x.json"], { readFile }));
  assert.deepEqual(file.pools, [{ runtime: "nodejs18", memoryMiB: undefined, size: 4 }]);
  assert.deepEqual(file.allowedHosts, ["a.example", "b.example"]);
  assert.equal(file.insecureNoAuth, true);
});

test("every wrong value is told at once, each by the name the user gave it", () => {
  const problems = expectProblems(
    parse(["--port", "x", "--sandbox=maybe", "--prot", "1", "--host", "stray"].concat("extra"), {
      environment: { KS_IDLE_TIMEOUT: "soon", KS_CONFIG: "c.json" },
      readFile: () => '{"log-level": "loud", "prot": 1}',
    }),
  );
  const all = problems.join("\n");
  for (const part of [
    "--port must be a whole number from 0 to 65535, not 'x'",
    "--sandbox must be one of auto, require, plain, not 'maybe'",
    "--prot is unknown; did you mean --port?",
    "'extra' is not an option",
    "KS_IDLE_TIMEOUT must be a time such as 60s",
    "'log-level' in c.json must be one of",
    "'prot' in c.json is unknown; did you mean port?",
  ]) {
    assert.ok(all.includes(part), `${part}\nis missing in\n${all}`);
  }
});

test("a file that cannot be read or is no JSON object is a problem", () => {
  const readFile = () => {
    throw new Error("ENOENT: no such file");
  };
  assert.match(expectProblems(parse(["--config", "gone.json"], { readFile }))[0] ?? "", /gone\.json cannot be read: ENOENT/);
  assert.match(expectProblems(parse(["--config", "x"], { readFile: () => "[" }))[0] ?? "", /x is not JSON/);
  assert.match(expectProblems(parse(["--config", "x"], { readFile: () => "[]" }))[0] ?? "", /must hold a JSON object/);
});

test("an unknown KS_ variable is a warning with what was probably meant", () => {
  const result = parse([], { environment: { KS_PROT: "1" } });
  assert.equal(result.kind, "config");
  assert.deepEqual(result.kind === "config" && result.warnings, ["KS_PROT is set but unknown; did you mean KS_PORT?"]);
});

test("beyond loopback the way out is told, and --insecure-no-auth is it", () => {
  assert.match(expectProblems(parse(["--host", "0.0.0.0"])).join(), /--insecure-no-auth/);
  assert.deepEqual(expectConfig(parse(["--host", "0.0.0.0", "--insecure-no-auth"])).hosts, ["0.0.0.0"]);
  assert.deepEqual(expectConfig(parse(["--host", "[::1],localhost,127.0.0.2"])).hosts, ["::1", "localhost", "127.0.0.2"]);
  assert.match(expectProblems(parse(["--host", "0.0.0.0", "--insecure-no-auth", "--sandbox", "plain"])).join(), /loopback alone/);
  assert.equal(isLoopback("127.evil.example"), false);
});

test("half of a TLS pair is a problem, and so is a pair that is none", () => {
  const readFile = () => "no PEM";
  assert.deepEqual(expectProblems(parse(["--tls-cert", "c.pem"], { readFile })), [
    "--tls-cert and --tls-key belong together: give both or neither",
  ]);
  const [problem = "", ...others] = expectProblems(parse(["--tls-cert", "c.pem", "--tls-key", "~/k.pem"], { readFile }));
  assert.match(problem, /^--tls-cert \/here\/c\.pem with --tls-key \/home\/ada\/k\.pem cannot be used: /);
  assert.deepEqual(others, []);
});

test("files that cannot be read and programs that are none are told among the other wrong values, each by its own name", () => {
  const readFile = (path: string) => {
    throw new Error(`ENOENT: no such file, open '${path}'`);
  };
  assert.deepEqual(
    expectProblems(
      parse(["--port", "x", "--tls-cert", "c.pem", "--runtime-path", "nodejs18=/opt/node,python39=/missing"], {
        readFile,
        environment: { KS_TLS_KEY: "/k.pem" },
      }),
    ),
    [
      "--port must be a whole number from 0 to 65535, not 'x'",
      "--tls-cert names a file that cannot be read: ENOENT: no such file, open '/here/c.pem'",
      "KS_TLS_KEY names a file that cannot be read: ENOENT: no such file, open '/k.pem'",
      "--runtime-path names /missing for python39, which is no program",
    ],
  );
  assert.deepEqual(expectConfig(parse(["--runtime-path", "nodejs18=/opt/node"])).runtimePaths, [
    { runtime: "nodejs18", path: "/opt/node" },
  ]);
});

test("a flag that is given twice is told, without its values", () => {
  const twice = (...argv: string[]) => expectProblems(parse(argv, { readFile: () => "{}" }));
  assert.deepEqual(twice("--port", "x", "--port", "9000"), ["--port is given twice: give it once"]);
  assert.deepEqual(twice("--amqp-url", "amqp://a:secret@b", "--amqp-url=amqp://c"), ["--amqp-url is given twice: give it once"]);
  assert.deepEqual(twice("--insecure-no-auth", "--insecure-no-auth"), ["--insecure-no-auth is given twice: give it once"]);
  assert.deepEqual(twice("--config", "a.json", "--config", "b.json"), ["--config is given twice: give it once"]);
});

test("a password in a broken address is not repeated", () => {
  const problems = expectProblems(parse([], { environment: { KS_AMQP_URL: "http://guest:secret@host" } })).join();
  assert.match(problems, /KS_AMQP_URL must be an address that begins with amqp:\/\/ or amqps:\/\//);
  assert.doesNotMatch(problems, /secret/);
});

test("--help names every option and hides what is for tests; --version is told apart", () => {
  const result = parse(["--port", "x", "--help"]);
  assert.equal(result.kind, "help");
  const text = result.kind === "help" ? result.text : "";
  for (const option of Object.values(OPTIONS)) assert.equal(text.includes(`--${option.flag}`), !option.hidden, option.flag);
  assert.equal(parse(["--version"]).kind, "version");
});

const wrongValues: [flag: string, text: string][] = [
  ["port", "65536"],
  ["port", "1e3"],
  ["port", " 80"],
  ["idle-timeout", "-1s"],
  ["idle-timeout", "40d"],
  ["max-memory", "10%x"],
  ["max-memory", "900%"],
  ["max-memory", "1%"],
  ["trusted-proxies", "10.0.0.0/33"],
  ["trusted-proxies", "proxy"],
  ["allowed-origins", "https://a.example/path"],
  ["uid-range", "0-10"],
  ["uid-range", "5000-4000"],
  ["pool", "nodejs17=1"],
  ["runtime-path", "python39=bin/python"],
  ["cost-per-invocation", "-1"],
  ["host", "0.0.0.0:80"],
  ["host", "5.5.5.5.5"],
  ["host", "127.0.0.256"],
];
for (const [flag, text] of wrongValues) {
  test(`--${flag} refuses '${text}'`, () => {
    assert.match(expectProblems(parse([`--${flag}=${text}`]))[0] ?? "", new RegExp(`^--${flag} `));
  });
}

test("--help and --version take no value", () => {
  assert.deepEqual(expectProblems(parse(["--help=1"])), ["--help takes no value"]);
  assert.deepEqual(expectProblems(parse(["--version="])), ["--version takes no value"]);
});

test("a flag without its value, and one that takes the next flag for it, are problems", () => {
  assert.match(expectProblems(parse(["--port"])).join(), /--port needs a value: --port PORT/);
  assert.match(expectProblems(parse(["--port", "--insecure-no-auth"])).join(), /--port needs a value/);
});

test("beyond loopback needs authentication, and what belongs to it needs --auth", () => {
  const environment = { KS_ADMIN_KEY: "k".repeat(32) };
  const config = expectConfig(parse(["--host", "0.0.0.0", "--auth"], { environment }));
  assert.equal(config.adminKey, "k".repeat(32));
  assert.match(expectProblems(parse(["--host", "0.0.0.0"])).join(), /Add --auth/);
  assert.match(expectProblems(parse([], { environment })).join(), /no effect without --auth/);
  assert.match(expectProblems(parse(["--auth", "--insecure-no-auth"])).join(), /contradict/);
  assert.match(
    expectProblems(parse(["--auth"], { environment: { KS_ADMIN_KEY: "short" } })).join(),
    /^KS_ADMIN_KEY must have 32 characters or more/,
  );
  const problems = expectProblems(parse(["--auth", "--admin-key", "s3cret"])).join();
  assert.match(problems, /give it as KS_ADMIN_KEY/);
  assert.doesNotMatch(problems, /s3cret/);
});

test("keys and issuers are read from files, and what is wrong in them is said", () => {
  const issuers = [{ name: "main", issuer: "https://login.example.com", audiences: ["kube-serverless"] }];
  const files: Record<string, string> = {
    "/here/key": `${"k".repeat(40)}\n`,
    "/here/short": "short\n",
    "/here/oidc.json": JSON.stringify({ issuers }),
    "/here/wrong.json": JSON.stringify({ issuers: [{ ...issuers[0], issuer: "http://login.example.com" }] }),
  };
  const readFile = (path: string): string => {
    const content = files[path];
    if (content === undefined) throw new Error("ENOENT: no such file");
    return content;
  };
  const config = expectConfig(parse(["--auth", "--admin-key-file", "key", "--oidc-config", "oidc.json"], { readFile }));
  assert.equal(config.adminKeyOfFile, "k".repeat(40));
  assert.equal(config.oidc?.issuers[0]?.name, "main");
  const wrong = expectProblems(parse(["--auth", "--admin-key-file", "short", "--oidc-config", "wrong.json"], { readFile }));
  assert.match(wrong.join("\n"), /--admin-key-file short: the key in it must have 32 characters or more/);
  assert.match(wrong.join("\n"), /--oidc-config wrong.json is wrong:[^]*issuer/);
  assert.match(expectProblems(parse(["--auth", "--oidc-config", "none.json"], { readFile })).join(), /none.json cannot be read: ENOENT/);
});

test("rates are calls a second and perhaps a burst", () => {
  const config = expectConfig(parse(["--caller-rate-limit", "10:50", "--global-rate-limit=0.5", "--global-max-concurrency=200"]));
  assert.deepEqual(config.callerRateLimit, { requestsPerSecond: 10, burst: 50 });
  assert.deepEqual(config.globalRateLimit, { requestsPerSecond: 0.5 });
  assert.equal(config.globalMaxConcurrency, 200);
  assert.equal(config.callerMaxConcurrency, undefined);
  for (const wrong of ["0", "ten", "10:", "1:0", "-1"]) {
    assert.match(expectProblems(parse([`--caller-rate-limit=${wrong}`])).join(), /such as 100 or 100:200/);
  }
  assert.match(expectProblems(parse(["--caller-max-concurrency=0"])).join(), /whole number from 1 to 100000/);
});
