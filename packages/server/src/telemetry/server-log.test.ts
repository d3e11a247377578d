import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { createServerLog, keepControlCharactersEscaped, type ServerLogOptions } from "./server-log.ts";

async function collect(options: Partial<ServerLogOptions>) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { log: await createServerLog({ level: "info", format: "json", isTerminal: false, destination, ...options }), lines };
}

test("JSON: one object a line, with level, ISO time and a cause", async () => {
  const { log, lines } = await collect({});
  log.error({ err: new Error("disk gone"), fn: "hello" }, "function log cannot be written");
  log.debug("not at this level");
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0]!) as { level: number; time: string; fn: string; msg: string; err: { message: string; stack: string } };
  assert.equal(line.level, 50);
  assert.equal(new Date(line.time).toISOString(), line.time);
  assert.equal(line.fn, "hello");
  assert.equal(line.msg, "function log cannot be written");
  assert.equal(line.err.message, "disk gone");
  assert.match(line.err.stack, /server-log\.test/);
});

test("auto is pretty on a terminal alone", async () => {
  const terminal = await collect({ format: "auto", isTerminal: true });
  terminal.log.info({ port: 8080 }, "listening");
  assert.match(terminal.lines.join(""), /INFO.*listening/s);
  assert.throws(() => JSON.parse(terminal.lines[0]!) as unknown);
  const pipe = await collect({ format: "auto" });
  pipe.log.info("listening");
  assert.equal((JSON.parse(pipe.lines[0]!) as { msg: string }).msg, "listening");
});

test("what users chose cannot write to the terminal", async () => {
  const { log, lines } = await collect({ format: "pretty" });
  const nasty = "\u001b]0;owned\u0007\r\u009b2J\u007f\\u001b";
  log.warn({ name: nasty, err: new Error(nasty) }, nasty);
  const text = lines.join("");
  // oxlint-disable-next-line no-control-regex -- these characters are the point
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  assert.match(text, /\\u001b\]0;owned\\u0007/);
});

test("escapes of escapes stay what they are", () => {
  const values = ["\u001b", "\\u001b", "\\\u001b", '"\u0000"', "a\nb", "\ttab", "\b\f\r", "\u009b", "\u007f"];
  for (const value of values) {
    const shown = JSON.parse(keepControlCharactersEscaped(JSON.stringify(value))) as string;
    // oxlint-disable-next-line no-control-regex -- these characters are the point
    assert.doesNotMatch(shown, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
  }
  assert.equal(JSON.parse(keepControlCharactersEscaped(JSON.stringify("a\nb \\n ü"))), "a\nb \\n ü");
});

test("lines are written before the process ends, and a reader that leaves ends nothing", () => {
  const source = `
    const { createServerLog } = await import(${JSON.stringify(join(import.meta.dirname, "server-log.ts"))});
    const log = await createServerLog({ level: "info", format: "json", isTerminal: false });
    for (let i = 0; i < 2000; i++) log.info({ i }, "line");
    process.stderr.write("alive");
    process.exit(7);
  `;
  const whole = spawnSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8", maxBuffer: 10_000_000 });
  assert.equal(whole.status, 7);
  assert.equal(whole.stdout.trimEnd().split("\n").length, 2_000);
  const script = `"$0" --input-type=module -e "$1" | head -n 1`;
  const left = spawnSync("sh", ["-c", script, process.execPath, source], { encoding: "utf8" });
  assert.match(left.stderr, /alive/);
});
