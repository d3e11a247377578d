"use strict";

const { createHmac, createPublicKey, randomBytes, verify } = require("node:crypto");
const { readFileSync } = require("node:fs");

const DOMAIN = "kube-serverless proof v1";
const ROLE = "gateway-to-pod";
const NONCE_BYTES = 32;
const SIGNATURE_BYTES = 256;
const MAX_KEYS = 4;

/** The public keys of a JSON Web Key Set; RSA with 2048 bits and the exponent 65537 alone. */
function parsePublicKeys(text) {
  const { keys } = JSON.parse(text);
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > MAX_KEYS) throw new Error(`1 to ${MAX_KEYS} public keys are wanted`);
  return keys.map(({ kty, n, e }) => {
    const key = createPublicKey({ key: { kty, n, e }, format: "jwk" });
    if (key.asymmetricKeyDetails.modulusLength !== 2048 || e !== "AQAB") throw new Error("a public key of another kind");
    return key;
  });
}

function readPublicKeys(path) {
  return parsePublicKeys(readFileSync(path, "utf8"));
}

/** Whether one of the keys signed this nonce for these parties. */
function verifyProof(keys, role, nonce, parties, signature) {
  if (signature.length !== SIGNATURE_BYTES) return false;
  const message = Buffer.from(`${[DOMAIN, role, nonce.toString("hex"), ...parties].join("\n")}\n`, "ascii");
  return keys.some((key) => verify("sha256", message, key, signature));
}

/** What a token answers to a challenge. */
function answerWithToken(token, nonce) {
  return createHmac("sha256", token).update(nonce).digest();
}

module.exports = { NONCE_BYTES, ROLE, SIGNATURE_BYTES, answerWithToken, parsePublicKeys, randomBytes, readPublicKeys, verifyProof };
