import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  buildProofMessage,
  buildPublicKeySet,
  Challenge,
  createSigningKey,
  type ProofClaim,
  type ProofRole,
  ProofSigner,
  ProofVerifier,
  type PublicKeySet,
} from "./proof.ts";

interface Case {
  name: string;
  role: ProofRole;
  nonceHex: string;
  parties: string[];
  messageHex: string;
  signatureBase64: string;
}
type Vectors = PublicKeySet & { good: Case[]; forged: Case[] };

const vectors = JSON.parse(readFileSync(new URL("../../../../runtimes/vectors/proofs.json", import.meta.url), "utf8")) as Vectors;

const claimOf = ({ role, nonceHex, parties }: Case): ProofClaim => ({ role, nonce: Buffer.from(nonceHex, "hex"), parties });

describe("proofs", () => {
  const verifier = new ProofVerifier(vectors);
  for (const vector of vectors.good) {
    test(`takes: ${vector.name}`, async () => {
      assert.equal(buildProofMessage(claimOf(vector)).toString("hex"), vector.messageHex);
      assert.equal(await verifier.verify(claimOf(vector), Buffer.from(vector.signatureBase64, "base64")), true);
    });
  }
  for (const vector of vectors.forged) {
    test(`refuses: ${vector.name}`, async () => {
      assert.equal(await verifier.verify(claimOf(vector), Buffer.from(vector.signatureBase64, "base64")), false);
    });
  }

  test("what a new key signs, its public half verifies, beside an older one", async () => {
    const [old, current] = [await createSigningKey(), await createSigningKey()];
    const claim: ProofClaim = { role: "gateway-to-gateway", nonce: new Challenge().nonce, parties: ["10.0.0.1:8081", "10.0.0.2:8081"] };
    const signature = await new ProofSigner(current).sign(claim);
    assert.equal(await new ProofVerifier(buildPublicKeySet([old, current])).verify(claim, signature), true);
    assert.equal(await new ProofVerifier(buildPublicKeySet([old])).verify(claim, signature), false);
    assert.equal(await new ProofVerifier(buildPublicKeySet([current])).verify({ ...claim, role: "gateway-to-pod" }, signature), false);
  });

  test("a party cannot be made to look like two", () => {
    const nonce = Buffer.alloc(32);
    for (const party of ["", "a\nb", "a b", "é", "x".repeat(257)]) {
      assert.throws(() => buildProofMessage({ role: "gateway-to-pod", nonce, parties: [party] }), RangeError);
    }
    assert.throws(() => buildProofMessage({ role: "gateway-to-pod", nonce: Buffer.alloc(31), parties: ["a"] }), RangeError);
  });

  test("a nonce is used once", () => {
    const challenge = new Challenge();
    assert.equal(challenge.use(Buffer.from(challenge.nonce)), true);
    assert.equal(challenge.use(Buffer.from(challenge.nonce)), false);
    const missed = new Challenge();
    assert.equal(missed.use(Buffer.alloc(32)), false);
    assert.equal(missed.use(Buffer.from(missed.nonce)), false);
  });

  test("no other keys are taken", () => {
    const small = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const curve = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    assert.throws(() => new ProofSigner(small), TypeError);
    assert.throws(() => new ProofSigner(curve), TypeError);
    assert.throws(() => new ProofVerifier({ keys: [] }), TypeError);
    assert.throws(() => new ProofVerifier({ keys: Array.from({ length: 5 }, () => vectors.keys[0]!) }), TypeError);
  });
});
