import assert from "node:assert/strict";
import { globSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fillStore } from "../../support/fill-store.ts";
import { createDataFolder, startServer, waitFor } from "../../support/server.ts";
import { ADMIN, ECHO, SecuredServer } from "./support/secured.ts";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-test-start-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const start = async (environment: Record<string, string>, flags: readonly string[] = []): Promise<SecuredServer> =>
  new SecuredServer(await startServer({ flags: ["--auth", ...flags], environment }));

/** Exit code and what was printed, as `startServer` tells it. */
const failureOf = (environment: Record<string, string>): Promise<string> =>
  start(environment).then(
    (secured) => secured.server.stop().then(() => assert.fail("the server started")),
    (error: Error) => error.message,
  );

test("the admin key is read from a file, whose final line end is none of it", async (t) => {
  const file = join(folderOf(t), "admin-key");
  for (const content of [ADMIN, `${ADMIN}\n`, `${ADMIN}\r\n`]) {
    writeFileSync(file, content, { mode: 0o600 });
    await using secured = await start({ KS_ADMIN_KEY_FILE: file });
    assert.equal((await secured.admin("GET", "/api/v1/keys")).status, 200, JSON.stringify(content));
    // It is way enough in: no other is made.
    assert.deepEqual((await secured.admin("GET", "/api/v1/keys")).body, []);
    assert.equal(secured.server.log.find(({ msg }) => msg === "listening")?.["newAdminKey"], undefined);
    assert.equal((await secured.send("GET", "/api/v1/keys", { key: `${ADMIN}x` })).status, 401);
    assert.equal(JSON.stringify(secured.server.log).includes(ADMIN), false);
  }
});

test("a file without a proper admin key stops the start, saying which and why, and never what is in it", async (t) => {
  const folder = folderOf(t);
  const file = join(folder, "admin-key");
  const cases: Record<string, [content: string, says: RegExp]> = {
    "too short": ["only-thirty-one-characters-long", /32 characters or more/],
    empty: ["", /32 characters or more/],
    "two line ends": [`${ADMIN}\n\n`, /printable ASCII characters without spaces/],
    "a space at the end": [`${ADMIN} \n`, /printable ASCII characters without spaces/],
    "two keys": [`${ADMIN}\n${ADMIN}\n`, /printable ASCII characters without spaces/],
    "a byte order mark": [`\ufeff${ADMIN}\n`, /printable ASCII characters without spaces/],
  };
  for (const [name, [content, says]] of Object.entries(cases)) {
    writeFileSync(file, content, { mode: 0o600 });
    const failure = await failureOf({ KS_ADMIN_KEY_FILE: file });
    assert.match(failure, /ended with 2 /, name);
    assert.match(failure, says, name);
    assert.ok(failure.includes(file), `${name}: ${failure}`);
    assert.ok(content.trim() === "" || !failure.includes(content.trim().slice(0, 20)), failure);
  }
  const missing = join(folder, "missing");
  assert.match(await failureOf({ KS_ADMIN_KEY_FILE: missing }), new RegExp(`ended with 2 [^]*${missing}[^]*ENOENT`));
  assert.match(await failureOf({ KS_ADMIN_KEY: "short" }), /ended with 2 [^]*KS_ADMIN_KEY[^]*32 characters or more/);
});

test("a data folder from before there was authentication is taken over: its functions ask for a caller, its keys begin", async () => {
  await using started = new AsyncDisposableStack();
  const dataFolder = createDataFolder();
  started.defer(() => rmSync(dataFolder, { recursive: true, force: true }));
  const startOn = async (...flags: string[]) => started.use(new SecuredServer(await startServer({ flags, dataFolder })));
  await fillStore(dataFolder, { functions: 2, messages: 3 });
  const secured = await startOn("--auth");
  const told = secured.server.log.find(({ msg }) => msg === "listening");
  const key = String(told?.["newAdminKey"]);
  assert.match(key, /^ksk_/);
  const { body: listed } = await secured.send("GET", "/api/v1/functions", { key });
  assert.deepEqual(
    listed.map(({ name }: { name: string }) => name),
    ["registered-0", "registered-1"],
  );
  for (const path of ["/registered-0", "/fn/registered-1"]) {
    assert.equal((await secured.send("GET", path)).status, 401, path);
    assert.equal((await secured.send("GET", path, { key })).status, 200, path);
  }
  assert.equal((await secured.send("GET", "/api/v1/queues/orders", { key })).body.ready, 3);
  const made = await secured.send("POST", "/api/v1/keys", { key, body: { name: "a viewer", role: "viewer", functions: "registered-0" } });
  assert.equal(made.status, 201);
  await secured.server.stop();
  // And back: without authentication nobody is asked, and the keys wait.
  const open = await startOn();
  assert.equal((await open.send("GET", "/fn/registered-1")).status, 200);
  await open.server.stop();
  const again = await startOn("--auth");
  assert.equal(again.server.log.find(({ msg }) => msg === "listening")?.["newAdminKey"], undefined);
  assert.equal((await again.send("GET", "/api/v1/functions", { key: made.body.key })).body.length, 1);
});

test("whatever the umask, nobody else can read the data folder, its audit log least of all", async (t) => {
  const dataFolder = join(folderOf(t), "made", "by-the-server");
  await using secured = await SecuredServer.start({ dataFolder, prefix: ["/bin/sh", "-c", 'umask 0; exec "$0" "$@"'] });
  await secured.deploy("mine", ECHO);
  assert.equal((await secured.send("GET", "/fn/mine")).status, 401);
  const files = await waitFor("both logs", () => {
    const found = globSync("audit/**", { cwd: dataFolder });
    return found.filter((file) => file.endsWith(".ndjson")).length === 2 && found;
  });
  assert.deepEqual(files.sort(), [
    "audit",
    "audit/changes",
    "audit/changes/00000001.ndjson",
    "audit/refusals",
    "audit/refusals/00000001.ndjson",
  ]);
  const modeOf = (path: string): number => statSync(path).mode & 0o777;
  assert.equal(modeOf(dataFolder), 0o700);
  for (const file of files) assert.equal(modeOf(join(dataFolder, file)), file.endsWith(".ndjson") ? 0o600 : 0o700, file);
});
