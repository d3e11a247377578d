import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { projectFolder, startServer } from "../../support/server.ts";
import { describeDead, findLeftovers } from "./support/leftovers.ts";

test("a port in use is told in one line, and leaves neither the process nor its hold on the data folder", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  t.after(() => taken.close());
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const folder = await mkdtemp(join(tmpdir(), "ks-port-"));
  t.after(() => rm(folder, { recursive: true, force: true }));

  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      join(projectFolder, "packages/server/src/main.ts"),
      ...["--port", String(port), "--data-dir", folder, "--log-format", "json"],
    ],
    { stdio: ["ignore", "ignore", "pipe"], timeout: 30_000 },
  );
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (errors += chunk));
  const [code] = (await once(child, "close")) as [number | null];

  assert.equal(code, 1);
  assert.deepEqual(findLeftovers(describeDead(child.pid!, folder)), []);
  assert.equal(errors, `Port ${port} of 127.0.0.1 is in use by another program: stop it, or choose another port with --port\n`);
  const server = await startServer({ dataFolder: folder });
  assert.equal((await server.stop()).code, 0);
});
