import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { disposeRabbitMq, rabbitMqMissing, sharedRabbitMq } from "../support/rabbitmq.ts";
import { projectFolder, startServer, type TestServer, waitFor } from "../support/server.ts";
import { explainMissing } from "./support/missing.ts";
import { compareOutput, type Page, parsePage, type Step } from "./support/page.ts";

const STEP_LIMIT_MS = 100_000;
/** Of servers of pages that ask for `--auth`; the page finds it in `KS_KEY`. */
const ADMIN_KEY = "an-admin-key-for-the-pages-of-the-documentation";

const pages = [...globSync("*.md", { cwd: projectFolder }), ...globSync("{docs,examples}/**/*.md", { cwd: projectFolder })]
  .filter((path) => !path.startsWith("docs/reference") && !path.startsWith("docs/performance"))
  .sort();

/** Pages that need no flags share one server, as its users would; each leaves it as it found it. */
let shared: Promise<TestServer> | undefined;
after(async () => {
  await (await shared)?.stop();
  await disposeRabbitMq();
});

for (const path of pages) {
  const page = parsePage(readFileSync(join(projectFolder, path), "utf8"));
  if (page.steps.length === 0) continue;
  test(`${path} does what it says`, (t) => runPage(t, path, page));
  if (page.alsoRabbitMq) test(`${path} does what it says with RabbitMQ`, (t) => runPageWithRabbitMq(t, path, page));
}

test("links lead to files and headings that are there", () => {
  const broken = pages.flatMap((path) => {
    const text = readFileSync(join(projectFolder, path), "utf8").replaceAll(/^```[\s\S]*?^```$/gm, "");
    return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !leadsSomewhere(path, target))
      .map((target) => `${path}: ${target}`);
  });
  assert.deepEqual(broken, []);
});

async function runPageWithRabbitMq(t: TestContext, path: string, page: Page): Promise<void> {
  const missing = rabbitMqMissing();
  if (missing !== undefined) return t.skip(missing);
  const { url } = await sharedRabbitMq();
  await runPage(t, path, { ...page, flags: [...page.flags, "--amqp-url", url] });
}

async function runPage(t: TestContext, path: string, page: Page): Promise<void> {
  const environment = page.flags.includes("--auth") ? { KS_ADMIN_KEY: ADMIN_KEY } : {};
  const server = page.flags.length > 0 ? await startServer({ flags: page.flags, environment }) : await (shared ??= startServer());
  const folder = mkdtempSync(join(tmpdir(), "ks-docs-"));
  t.after(async () => {
    rmSync(folder, { recursive: true, force: true });
    if (page.flags.length > 0) await server.stop();
    else await removeFunctions(server);
  });
  const missing = await explainMissing(server, ["bash", "curl", ...page.needs], page.flags.includes("--auth") ? ADMIN_KEY : "");
  if (missing !== undefined) return t.skip(missing);
  symlinkSync(join(projectFolder, "examples"), join(folder, "examples"));
  for (const { name, text } of page.files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  for (const step of page.steps) await t.test(`${path}:${step.line}`, () => runStep(step, server, folder));
}

async function runStep(step: Step, server: TestServer, folder: string): Promise<void> {
  const { expected } = step;
  const run = async (): Promise<string> => {
    const commands = step.commands.replaceAll(/\b(localhost|127\.0\.0\.1):8080\b/g, `$1:${server.port}`);
    const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", commands], {
      cwd: folder,
      timeout: STEP_LIMIT_MS,
      env: { ...process.env, KS_URL: server.url, KS_KEY: ADMIN_KEY },
    });
    return stdout.replaceAll(`:${server.port}`, ":8080");
  };
  if (expected === undefined) return void (await run());
  if (!step.until) return assert.equal(compareOutput(expected, await run()), undefined);
  let problem: string | undefined;
  const isRight = async (): Promise<boolean> => (problem = compareOutput(expected, await run())) === undefined;
  await waitFor("the output of the page", isRight, 20_000).catch((error: unknown) => assert.fail(problem ?? String(error)));
}

async function removeFunctions(server: TestServer): Promise<void> {
  const functions = (await (await fetch(`${server.api}/functions`)).json()) as { name: string }[];
  await Promise.all(functions.map(({ name }) => fetch(`${server.api}/functions/${name}`, { method: "DELETE" })));
}

function leadsSomewhere(page: string, target: string): boolean {
  const [file = "", heading] = target.split("#");
  const path = file === "" ? join(projectFolder, page) : join(projectFolder, page, "..", file);
  try {
    if (heading === undefined) return globSync(path).length > 0;
    return headings(readFileSync(path, "utf8")).includes(heading);
  } catch {
    return false;
  }
}

/** As GitHub names them. */
function headings(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(" ", "-"),
  );
}
