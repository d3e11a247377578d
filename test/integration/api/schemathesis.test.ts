import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { ADMIN, SecuredServer } from "../security/support/secured.ts";

const CONFIG = join(import.meta.dirname, "schemathesis/schemathesis.toml");
/** It repeats until this is spent. */
const SPEND_SECONDS = 30;
/** Only a machine with much else to do needs more than a minute. */
const LIMIT_MS = 240_000;
const isInstalled = (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, "schemathesis")));

test("schemathesis finds nothing to say against the OpenAPI document and a server with authentication", {
  skip: !isInstalled && "schemathesis is not in PATH: see install_schemathesis in .ci/run",
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-test-schemathesis-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await using secured = await SecuredServer.start();
  await secured.deploy("hello", "exports.handler = async (event) => event.body");
  const options = [
    ["--header", `Authorization: Bearer ${ADMIN}`],
    ["--seed", "1"],
    ["--max-examples", "10"],
    ["--max-time", String(SPEND_SECONDS)],
    ["--request-timeout", "60"],
    ["--generation-database", "none"],
  ];
  const { code, output } = await run(
    ["--config-file", CONFIG, "run", `${secured.server.url}/openapi.json`, ...options.flat(), "--no-shrink", "--no-color"],
    folder,
  );
  assert.equal(code, 0, output);
  assert.match(output, /\d+ generated, \d+ passed/);
  // Functions that it wrote fail as they must; a defect of the platform would be told here.
  assert.deepEqual(
    secured.server.log.filter(({ level }) => level >= 50),
    [],
  );
});

function run(options: readonly string[], cwd: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    execFile("schemathesis", options, { cwd, timeout: LIMIT_MS, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number")
        reject(new Error(`schemathesis did not end by itself: ${error.message}\n${stdout}`));
      else resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}
