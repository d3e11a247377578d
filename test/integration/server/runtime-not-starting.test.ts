import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startServer, waitFor } from "../../support/server.ts";
import { Client } from "./support/client.ts";

const CODE = "exports.handler = async () => 'here';";

/** A Node.js whose processes end before they are anything, while it is broken; asked for its version it answers always. */
function createProgram() {
  const folder = mkdtempSync(join(tmpdir(), "ks-runtime-"));
  chmodSync(folder, 0o755);
  const program = join(folder, "node");
  const mark = join(folder, "broken");
  writeFileSync(
    program,
    `#!/bin/sh\n[ "$1" = --version ] || [ ! -e "${mark}" ] || { echo "no such luck" >&2; exit 3; }\nexec "${process.execPath}" "$@"\n`,
  );
  chmodSync(program, 0o755);
  return {
    program,
    runtime: `nodejs${process.versions.node.split(".")[0]}`,
    break: () => writeFileSync(mark, ""),
    mend: () => rmSync(mark),
    remove: () => existsSync(folder) && rmSync(folder, { recursive: true }),
  };
}

test("a runtime that does not start is the platform's fault: deploys and calls wait, nothing counts against the function", async (t) => {
  const { program, runtime, ...house } = createProgram();
  t.after(house.remove);
  const flags = ["--runtime-path", `${runtime}=${program}`, "--pool-size", "0", "--sandbox", "plain", "--queue-timeout", "2s"];
  const server = await startServer({ flags });
  t.after(() => server.stop());
  const client = new Client(server);

  house.break();
  await client.create({ name: "early", runtime, code: CODE });
  await waitFor("the deploy to say what it waits for", async () => {
    const { state, reason, message } = (await client.get("/functions/early")).json.status;
    assert.equal(state, "deploying");
    return reason === "RuntimeNotStarted" && /did not start: its process ended with code 3: no such luck/.test(message);
  });
  assert.ok((await client.degraded()).includes(`runtime-${runtime}-not-starting`));
  house.mend();
  await client.running("early");
  assert.ok(!(await client.degraded()).includes(`runtime-${runtime}-not-starting`));

  // What a claim has left in the pool would still answer.
  await waitFor(
    "the pool to be empty",
    async () => (await client.get("/ready")).json.pools.every((pool: any) => pool.waiting === 0 && pool.target === 0),
    30_000,
  );
  house.break();
  const refused = await client.invoke("early");
  assert.deepEqual([refused.status, refused.json.code], [503, "NO_CAPACITY"], refused.text);
  assert.match(refused.json.error, /waited 2 s for a place; .*the runtime \S+ did not start: its process ended with code 3/);

  house.mend();
  await waitFor("a call to be answered", async () => {
    const { status, json, text } = await client.invoke("early");
    if (status === 503) return false;
    assert.deepEqual([status, json?.body], [200, "here"], text);
    return true;
  });
  assert.equal((await client.get("/functions/early/metrics")).json.errorRate, 0);
});

test("an interpreter on PATH that does not run is named at the deploy, with what it said", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ks-runtime-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "python3.14");
  writeFileSync(program, "#!/bin/sh\necho libpython3.14.so: no such file >&2\nexit 127\n", { mode: 0o755 });
  const environment = { PATH: `${folder}:${process.env["PATH"]}` };
  const server = await startServer({ flags: ["--pool-size", "0", "--sandbox", "plain"], environment });
  t.after(() => server.stop());
  const { status, json } = await new Client(server).create({ name: "late", runtime: "python314", code: "def handler(event): return 1" });
  assert.equal(status, 400);
  const reason = `${program} was found and not taken: it ended with code 127, saying: libpython3.14.so: no such file`;
  assert.ok(json.details[0].message.includes(`. ${reason}. Available: `), json.details[0].message);
});
