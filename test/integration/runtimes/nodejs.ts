import assert from "node:assert/strict";
import { describe, type TestContext } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { LANGUAGES, type ShimLanguage } from "./languages.ts";
import type { Shim, ShimFrame, Specialisation } from "./support.ts";

export type Options = Partial<Omit<Specialisation, "code">>;

export const MIB = 1024 * 1024;

/** Describes a topic for every version of Node.js that the tests know. */
export function describeNodejs(topic: string, ...tests: ((language: ShimLanguage) => void)[]): void {
  for (const language of LANGUAGES.filter((each) => each.language === "nodejs")) {
    describe(`${language.name}: ${topic}`, { skip: language.missing ?? false, concurrency: 2 }, () => {
      for (const testTopic of tests) testTopic(language);
    });
  }
}

/** A generic replica, ended with the test. */
export async function start(t: TestContext, language: ShimLanguage): Promise<Shim> {
  const shim = await language.start("");
  t.after(() => shim.stop());
  return shim;
}

/** A replica specialised with this code, and READY or FAILED. */
export async function load(
  t: TestContext,
  language: ShimLanguage,
  code: string,
  options: Options = {},
): Promise<{ shim: Shim; result: ShimFrame }> {
  const shim = await start(t, language);
  return { shim, result: await shim.specialise({ code, handler: "index.handler", module: "commonjs", ...options }) };
}

/** A replica that is ready to run this code. */
export async function ready(t: TestContext, language: ShimLanguage, code: string, options: Options = {}): Promise<Shim> {
  const { shim, result } = await load(t, language, code, options);
  assert.equal(result.kind, FrameType.READY, JSON.stringify(result.meta));
  return shim;
}

/** The answer of a call as JSON. */
export async function callJson(shim: Shim, body: unknown = {}): Promise<unknown> {
  const answer = await shim.call(JSON.stringify(body));
  assert.equal(answer.head?.kind, 200, JSON.stringify(answer.error));
  return JSON.parse(answer.body.toString());
}
