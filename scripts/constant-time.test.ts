import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");
const SOURCES = ["packages/*/src/**/*.ts", "runtimes/**/*.{js,cjs,mjs,py,go}"];

const COMPARISON = /([\w$.?#]+(?:\([^()]*\))?) ?[!=]==? ?([\w$.?#]+(?:\([^()]*\))?|["'])/g;
const BY_CALL =
  /([\w$.?#]+)\.(?:equals|localeCompare)\(([\w$.?#]+)|(?:Buffer\.compare|bytes\.Equal|isDeepStrictEqual)\(([\w$.?#]+), ?([\w$.?#]+)/g;
/** What an attacker would like to learn, by the end of its name. */
const SECRET = /(?:token|signature|secret|hmac|digest|proof|nonce|password|api_?key|admin_?key)(?:\([^()]*\))?$/i;
/** Comparing with these tells whether it is there, or of which kind. */
const HARMLESS = /^(?:undefined|null|nil|None|True|False|true|false|\d+|["'].*|(?:[\w$]+\.)?[A-Z_]+|frame\.\w+)$/;

/** Lines that compare such a thing, and why time tells nothing there. */
const ALLOWED: Readonly<Record<string, string>> = {
  "packages/server/src/security/authentication/authenticator.ts: return parseBearer(authorization) === apiKey ? { ...authentication, strip: STRIP_BOTH } : TWO_KEYS;":
    "both are the caller's own",
};

function findComparisons(text: string): string[] {
  const isTelling = ([, ...operands]: RegExpMatchArray): boolean => {
    const compared = operands.filter((operand) => operand !== undefined);
    return compared.some((operand) => SECRET.test(operand)) && !compared.some((operand) => HARMLESS.test(operand));
  };
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => !/^(?:\/\/|\*|\/\*|#)/.test(line))
    .filter((line) => [...line.matchAll(COMPARISON), ...line.matchAll(BY_CALL)].some(isTelling));
}

test("nothing that is secret is compared in a time that tells of it", () => {
  const files = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: root })).filter(
    (file) => !/\.(?:test|bench)\.|_test\.go|testing\//.test(file),
  );
  assert.ok(files.length > 200);
  const found = files.flatMap((file) => findComparisons(readFileSync(join(root, file), "utf8")).map((line) => `${file}: ${line}`));
  assert.deepEqual(found.sort(), Object.keys(ALLOWED).sort());
});

test("a comparison that stops at the first difference is found, however it is written", () => {
  for (const line of [
    "if (signature === expected) return true;",
    "return this.#token !== token;",
    'if (header.signature == hmac.digest("hex")) return;',
    "if (signature.equals(sent)) return;",
    "if peer.token != sent {",
    "if token == self._token:",
    "return bytes.Equal(sent, secret)",
    "return Buffer.compare(secret, sent) === 0;",
    "known.find(({ apiKey }) => apiKey === text)",
  ])
    assert.deepEqual(findComparisons(line), [line]);
  for (const line of [
    "if (token === undefined) return;",
    "if (signature.length !== SIGNATURE_BYTES) return false;",
    "return timingSafeEqual(signature, expected);",
    'if (kind === "secret") return;',
    "// token === other",
  ])
    assert.deepEqual(findComparisons(line), []);
});
