import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ProgramProbes, type Question } from "./program-probes.ts";

const QUESTION: Question = { args: ["--version"], environment: { PATH: "/usr/bin:/bin" } };

/** A script that prints what lies beside it, and counts how often it is asked. */
function makeProgram(t: TestContext, says: string) {
  const folder = mkdtempSync(join(tmpdir(), "ks-probes-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "program");
  const write = (script: string) => writeFileSync(program, script, { mode: 0o755 });
  write(`#!/bin/sh\necho x >>${folder}/asked\ncat ${folder}/says || exit 3\n`);
  const say = (text: string) => writeFileSync(join(folder, "says"), text);
  say(says);
  const countAsked = () => (existsSync(join(folder, "asked")) ? readFileSync(join(folder, "asked"), "utf8").split("x").length - 1 : 0);
  return { folder, program, file: join(folder, "runtimes.json"), write, say, countAsked };
}

/** What it printed, or why it did not. */
async function ask(file: string | undefined, program: string): Promise<string | undefined> {
  const probes = await ProgramProbes.open(file);
  const answer = await probes.ask(program, QUESTION);
  await probes.save();
  if (answer === undefined) return undefined;
  return "output" in answer ? answer.output : `failed: ${answer.failure}`;
}

test("a program is asked once, and the next start knows", async (t) => {
  const { program, file, countAsked } = makeProgram(t, "1.2.3\n");
  const probes = await ProgramProbes.open(file);
  assert.deepEqual(await Promise.all([probes.ask(program, QUESTION), probes.ask(program, QUESTION)]), [
    { output: "1.2.3" },
    { output: "1.2.3" },
  ]);
  await probes.save();
  assert.equal(await ask(file, program), "1.2.3");
  assert.equal(countAsked(), 1);
});

test("one that was replaced is asked again, one that is gone is none", async (t) => {
  const { program, file, write } = makeProgram(t, "1\n");
  assert.equal(await ask(file, program), "1");
  write("#!/bin/sh\necho two\n");
  assert.equal(await ask(file, program), "two");
  rmSync(program);
  assert.equal(await ask(file, program), undefined);
});

test("a failure is remembered, too: a version manager fails for each version that is not chosen, and takes its time", async (t) => {
  const { program, file, write, countAsked } = makeProgram(t, "");
  write("#!/bin/sh\necho x >>$(dirname $0)/asked\necho more >&2\necho such a version is not chosen >&2\nexit 127\n");
  const failure = "failed: it ended with code 127, saying: such a version is not chosen";
  assert.equal(await ask(file, program), failure);
  assert.equal(await ask(file, program), failure);
  assert.equal(countAsked(), 1);
});

test("a script whose answer comes from elsewhere is asked again behind the start, for the next one", async (t) => {
  const { program, file, say } = makeProgram(t, "3.9\n");
  await ask(file, program);
  say("3.12\n");
  const probes = await ProgramProbes.open(file);
  assert.deepEqual(await probes.ask(program, QUESTION), { output: "3.9" });
  assert.deepEqual(await probes.recheck(), [program]);
  assert.deepEqual(await probes.recheck(), []);
  assert.equal(await ask(file, program), "3.12");
});

test("what was kept and cannot be read, or cannot be written, costs a question and nothing else", async (t) => {
  const { folder, program, file, countAsked } = makeProgram(t, "1\n");
  for (const content of ["{", "{}", "[1, null, {}]", '[{"path": "/x"}]']) {
    writeFileSync(file, content);
    assert.equal(await ask(file, program), "1");
  }
  assert.equal(await ask(join(folder, "missing/runtimes.json"), program), "1");
  assert.equal(countAsked(), 5);
});

test("what is there and does not run says why, each time anew where that may pass", async (t) => {
  const { folder, program, file, write } = makeProgram(t, "1\n");
  write("#!/nonexistent/interpreter\n");
  assert.match((await ask(file, program)) ?? "", /^failed: it cannot be started: .*ENOENT/);
  write("#!/bin/sh\nkill -SEGV $$\n");
  assert.equal(await ask(file, program), "failed: it was ended by SIGSEGV");
  write("#!/bin/sh\necho 1\n");
  assert.equal(await ask(file, program), "1");
  symlinkSync(join(folder, "gone"), join(folder, "link"));
  assert.equal(await ask(file, join(folder, "link")), "failed: it is a link to what is not there");
  chmodSync(program, 0o644);
  assert.equal(await ask(file, program), "failed: the server's user may not run it");
});

test("what is no program answers nothing", async (t) => {
  const { folder } = makeProgram(t, "1\n");
  assert.equal(await ask(undefined, folder), undefined);
  assert.equal(await ask(undefined, "/nonexistent"), undefined);
});
