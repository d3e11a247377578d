import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { promisify } from "node:util";

/** First line of every message that is signed, so that a signature means nothing elsewhere. */
const DOMAIN = "kube-serverless proof v1";
export const NONCE_BYTES = 32;
export const SIGNATURE_BYTES = 256;
const MODULUS_BITS = 2048;
/** `e` of a JSON Web Key: 65537. */
const EXPONENT = "AQAB";
/** The current key, its successor, and room for a rotation that went wrong. */
const MAX_KEYS = 4;
const MAX_PARTY_LENGTH = 256;

const generateRsa = promisify(generateKeyPair);

/** Who proves itself to whom; a signature for one role is none for another. */
export type ProofRole = "gateway-to-pod" | "gateway-to-gateway";

/** What is proven: the answer to a nonce, for these parties in this order. */
export interface ProofClaim {
  role: ProofRole;
  nonce: Buffer;
  /** For a pod its UID and the address that was dialled. */
  parties: readonly string[];
}

/** RSA keys as a JSON Web Key Set (RFC 7517); the members that a verifier needs. */
export interface PublicKeySet {
  keys: { kty: "RSA"; n: string; e: string }[];
}

/** The bytes that are signed: lines of the domain, the role, the nonce in hexadecimal, and each party. @throws RangeError */
export function buildProofMessage({ role, nonce, parties }: ProofClaim): Buffer {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes, not ${nonce.length}`);
  for (const party of parties) {
    if (party === "" || party.length > MAX_PARTY_LENGTH || /[^!-~]/.test(party)) {
      throw new RangeError(`${JSON.stringify(party.slice(0, MAX_PARTY_LENGTH))} cannot be a party of a proof`);
    }
  }
  return Buffer.from(`${[DOMAIN, role, nonce.toString("hex"), ...parties].join("\n")}\n`, "ascii");
}

/** A new private key in PEM, as the Secret keeps it. */
export async function createSigningKey(): Promise<string> {
  const { privateKey } = await generateRsa("rsa", { modulusLength: MODULUS_BITS });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** The public keys of private or public ones in PEM, for those who verify. @throws TypeError */
export function buildPublicKeySet(pems: readonly string[]): PublicKeySet {
  return { keys: pems.map((pem) => exportPublicKey(createPublicKey(pem))) };
}

function exportPublicKey(key: KeyObject): PublicKeySet["keys"][number] {
  const { n, e } = key.export({ format: "jwk" });
  if (key.asymmetricKeyType !== "rsa" || key.asymmetricKeyDetails?.modulusLength !== MODULUS_BITS || n === undefined || e !== EXPONENT) {
    throw new TypeError(`the signing key must be RSA with ${MODULUS_BITS} bits and the exponent 65537`);
  }
  return { kty: "RSA", n, e };
}

/** Signs with the private key, in the thread pool: 0.7 ms that the event loop does not see. */
export class ProofSigner {
  readonly #key: KeyObject;

  /** @throws TypeError where the key is not RSA with 2048 bits */
  constructor(privateKeyPem: string) {
    this.#key = createPrivateKey(privateKeyPem);
    exportPublicKey(createPublicKey(this.#key));
  }

  async sign(claim: ProofClaim): Promise<Buffer> {
    const message = buildProofMessage(claim);
    return new Promise((resolve, reject) => {
      sign("sha256", message, this.#key, (error, signature) => (error === null ? resolve(signature) : reject(error)));
    });
  }
}

/** Verifies against every key that is trusted: during a rotation there are two. */
export class ProofVerifier {
  readonly #keys: readonly KeyObject[];

  /** @throws TypeError where a key is not RSA with 2048 bits, or there are none or too many */
  constructor(set: PublicKeySet) {
    if (set.keys.length === 0 || set.keys.length > MAX_KEYS) throw new TypeError(`1 to ${MAX_KEYS} public keys are wanted`);
    this.#keys = set.keys.map(({ kty, n, e }) => {
      const key = createPublicKey({ key: { kty, n, e }, format: "jwk" });
      exportPublicKey(key);
      return key;
    });
  }

  async verify(claim: ProofClaim, signature: Buffer): Promise<boolean> {
    if (signature.length !== SIGNATURE_BYTES) return false;
    const message = buildProofMessage(claim);
    for (const key of this.#keys) if (await verifyWith(key, message, signature)) return true;
    return false;
  }
}

function verifyWith(key: KeyObject, message: Buffer, signature: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    verify("sha256", message, key, signature, (error, valid) => resolve(error === null && valid));
  });
}

/** A nonce that was handed out; it is used once, whatever comes of it. */
export class Challenge {
  readonly nonce = randomBytes(NONCE_BYTES);
  #used = false;

  /** True the first time, and only for this challenge's own nonce. */
  use(nonce: Buffer): boolean {
    if (this.#used) return false;
    this.#used = true;
    return nonce.length === NONCE_BYTES && timingSafeEqual(nonce, this.nonce);
  }
}
