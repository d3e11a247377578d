import type { Clock, Timer } from "../clock.ts";
import { buildPublicKeySet, createSigningKey, ProofSigner, ProofVerifier } from "../protocol/proof.ts";
import type { ApiClient } from "./api-client.ts";
import { hasStatus } from "./api-error.ts";
import type { KubernetesObject, Resource } from "./resource.ts";

const SECRET = "kube-serverless-signing";
/** Pods mount it: what it lets in is public. */
const PUBLIC_KEYS = "kube-serverless-gateway-keys";
const PUBLIC_KEYS_FILE = "keys.json";
/** The key that signs; other entries that end in `.pem` are trusted beside it, as in a rotation. */
const SIGNING_ENTRY = "signing.pem";
const MANAGER = "kube-serverless-gateway";
/** A rotation is taken up within this time. */
const REFRESH_MS = 60_000;

interface Secret extends KubernetesObject {
  type?: string;
  data?: Record<string, string>;
  stringData?: Record<string, string>;
}

interface ConfigMap extends KubernetesObject {
  data?: Record<string, string>;
}

export interface ProofKeys {
  signer: ProofSigner;
  verifier: ProofVerifier;
}

export interface SigningKeysOptions {
  client: ApiClient;
  clock: Clock;
  systemNamespace: string;
  functionsNamespace: string;
  log: { warn(fields: object, message: string): void };
}

/** The key by which all gateways prove themselves: made by the first that starts, kept in a Secret, its public half told to pods. */
export class SigningKeys {
  readonly #options: SigningKeysOptions;
  readonly #secrets: Resource;
  readonly #configMaps: Resource;
  #keys: ProofKeys | undefined;
  #version: string | undefined;
  #timer: Timer | undefined;

  constructor(options: SigningKeysOptions) {
    this.#options = options;
    this.#secrets = { apiVersion: "v1", kind: "Secret", plural: "secrets", namespace: options.systemNamespace };
    this.#configMaps = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", namespace: options.functionsNamespace };
  }

  /** Reads the key, or makes it. @throws ApiError, TypeError for a Secret that holds no such key */
  async start(): Promise<void> {
    await this.#refresh();
    this.#arm();
  }

  get current(): ProofKeys {
    if (this.#keys === undefined) throw new Error("the signing key was not read yet");
    return this.#keys;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer = this.#options.clock.setTimer(REFRESH_MS, () => {
      this.#refresh()
        .catch((error: unknown) => this.#options.log.warn({ err: error }, "the signing key could not be read anew"))
        .finally(() => this.#arm());
    });
  }

  async #refresh(): Promise<void> {
    const { client } = this.#options;
    const secret = (await client.find<Secret>(this.#secrets, SECRET)) ?? (await this.#make());
    if (secret.metadata.resourceVersion === this.#version) return;
    const pems = readPems(secret);
    const set = buildPublicKeySet([...pems.values()]);
    const signing = pems.get(SIGNING_ENTRY);
    if (signing === undefined) throw new TypeError(`Secret ${SECRET} has no entry ${SIGNING_ENTRY}`);
    // Pods must trust a key before a gateway signs with it.
    const published = { metadata: { name: PUBLIC_KEYS }, data: { [PUBLIC_KEYS_FILE]: JSON.stringify(set) } };
    await client.apply<ConfigMap>(this.#configMaps, published, MANAGER);
    this.#keys = { signer: new ProofSigner(signing), verifier: new ProofVerifier(set) };
    this.#version = secret.metadata.resourceVersion;
  }

  async #make(): Promise<Secret> {
    const { client } = this.#options;
    const secret: Secret = { metadata: { name: SECRET }, type: "Opaque", stringData: { [SIGNING_ENTRY]: await createSigningKey() } };
    try {
      return await client.create(this.#secrets, secret, { fieldManager: MANAGER });
    } catch (error) {
      // Another gateway was faster: its key counts.
      if (hasStatus(error, 409)) return client.get<Secret>(this.#secrets, SECRET);
      throw error;
    }
  }
}

/** By name, the signing one first. */
function readPems({ data = {} }: Secret): Map<string, string> {
  const names = Object.keys(data).filter((name) => name.endsWith(".pem"));
  names.sort((a, b) => Number(b === SIGNING_ENTRY) - Number(a === SIGNING_ENTRY) || (a < b ? -1 : 1));
  return new Map(names.map((name) => [name, Buffer.from(data[name]!, "base64").toString()]));
}
