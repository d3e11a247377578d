import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import test from "node:test";
import { findMissingSecrets, WebhookSignature } from "@kube-serverless/contracts";
import fc from "fast-check";
import { checkWebhook, compileWebhookCheck } from "./verify-signature.ts";

const NOW_S = 1_800_000_000;
const hex = (secret: string, bytes: string | Uint8Array) => createHmac("sha256", secret).update(bytes).digest("hex");
const environment = { SECRET: "It's a Secret to Everybody", NEXT: "the next one", EMPTY: "" };
const github = compileWebhookCheck(WebhookSignature.parse({ scheme: "github", secretFrom: "SECRET" }), environment);
const stripe = compileWebhookCheck(WebhookSignature.parse({ scheme: "stripe", secretFrom: "SECRET" }), environment);
const bytes = (text: string) => [Buffer.from(text)];

function refuses(check: typeof github, headers: Record<string, string>, body: readonly Uint8Array[], why: RegExp, nowS = NOW_S): void {
  assert.throws(
    () => checkWebhook(check, headers, body, nowS * 1000),
    (error: Error & { code: string; status: number }) =>
      error.code === "UNAUTHENTICATED" && error.status === 401 && why.test(error.message),
  );
}

test("takes the signature that GitHub's documentation gives as example", () => {
  const signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
  checkWebhook(github, { "x-hub-signature-256": signature }, bytes("Hello, World!"), 0);
  refuses(github, { "x-hub-signature-256": signature }, bytes("Hello, World"), /does not match/);
});

test("signs the exact bytes, however they came in pieces", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(299), (body, at) => {
      const headers = { "x-hub-signature-256": `sha256=${hex(environment.SECRET, body)}` };
      checkWebhook(github, headers, [body.slice(0, at), body.slice(at)], 0);
      const changed = Uint8Array.from(body);
      changed[at % body.length]! ^= 1;
      refuses(github, headers, [changed], /does not match/);
    }),
    { numRuns: 100 },
  );
});

test("refuses a missing, short, upper-case or older kind of signature from GitHub", () => {
  const right = hex(environment.SECRET, "{}");
  refuses(github, {}, bytes("{}"), /X-Hub-Signature-256 is missing/);
  refuses(github, { "x-hub-signature": `sha256=${right}` }, bytes("{}"), /missing/);
  for (const wrong of [
    "",
    right,
    `sha1=${right.slice(0, 40)}`,
    `sha256=${right.slice(1)}`,
    `sha256=${right}00`,
    `SHA256=${right}`,
    `sha256=${right}, sha256=${right}`,
  ])
    refuses(github, { "x-hub-signature-256": wrong }, bytes("{}"), /must be sha256=/);
});

test("takes Stripe's signature of time and body, any of several", () => {
  const right = hex(environment.SECRET, `${NOW_S}.{"a":1}`);
  const other = hex("another", `${NOW_S}.{"a":1}`);
  for (const header of [`t=${NOW_S},v1=${right}`, `t=${NOW_S}, v1=${other}, v1=${right}, v0=${other}`])
    checkWebhook(stripe, { "stripe-signature": header }, bytes('{"a":1}'), NOW_S * 1000);
});

test("refuses Stripe's signature when it is old, ahead, changed, weaker or none", () => {
  const right = hex(environment.SECRET, `${NOW_S}.{}`);
  const headers = { "stripe-signature": `t=${NOW_S},v1=${right}` };
  checkWebhook(stripe, headers, bytes("{}"), (NOW_S + 300) * 1000);
  refuses(stripe, headers, bytes("{}"), /more than 300 s/, NOW_S + 301);
  refuses(stripe, headers, bytes("{}"), /more than 300 s/, NOW_S - 301);
  refuses(stripe, headers, bytes("{ }"), /does not match/);
  refuses(stripe, { "stripe-signature": `t=${NOW_S + 1},v1=${right}` }, bytes("{}"), /does not match/);
  refuses(stripe, { "stripe-signature": `t=${NOW_S},v0=${right}` }, bytes("{}"), /one t and at least one v1/);
  refuses(stripe, { "stripe-signature": `t=${NOW_S},t=${NOW_S - 1},v1=${right}` }, bytes("{}"), /one t/);
  refuses(stripe, { "stripe-signature": `v1=${right}` }, bytes("{}"), /one t/);
  refuses(stripe, {}, bytes("{}"), /missing/);
});

test("a tolerance of one's own counts", () => {
  const check = compileWebhookCheck(WebhookSignature.parse({ scheme: "stripe", secretFrom: "SECRET", toleranceSeconds: 10 }), environment);
  const headers = { "stripe-signature": `t=${NOW_S},v1=${hex(environment.SECRET, `${NOW_S}.x`)}` };
  checkWebhook(check, headers, bytes("x"), (NOW_S + 10) * 1000);
  refuses(check, headers, bytes("x"), /more than 10 s/, NOW_S + 11);
});

test("while a secret is changed, both are taken; one that is not there opens nothing", () => {
  const both = WebhookSignature.parse({ scheme: "github", secretFrom: ["SECRET", "NEXT"] });
  for (const secret of [environment.SECRET, environment.NEXT])
    checkWebhook(compileWebhookCheck(both, environment), { "x-hub-signature-256": `sha256=${hex(secret, "x")}` }, bytes("x"), 0);
  const gone = WebhookSignature.parse({ scheme: "github", secretFrom: ["EMPTY", "toString"] });
  assert.deepEqual(findMissingSecrets(gone, environment), ["EMPTY", "toString"]);
  refuses(compileWebhookCheck(gone, environment), { "x-hub-signature-256": `sha256=${hex("", "x")}` }, bytes("x"), /does not match/);
});

test("whatever stands in the header, it is refused, not broken", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (header) => {
      refuses(github, { "x-hub-signature-256": header }, bytes("x"), /./);
      refuses(stripe, { "stripe-signature": header }, bytes("x"), /./);
    }),
  );
});
