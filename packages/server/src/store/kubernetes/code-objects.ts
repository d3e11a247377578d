import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import { CODE_KEY, fitsInline, hashCode, packCode, readConfigMapCode } from "./code.ts";
import {
  API_MANAGER,
  type CodeReference,
  type ConfigMapObject,
  type FunctionObject,
  MADE_BY_API,
  MADE_BY_LABEL,
  ownedBy,
  type Resources,
} from "./objects.ts";

/** Where code was put: fields of the Function's spec, and the ConfigMap where one was made. */
export interface PlacedCode {
  fields: { code?: string; codeFrom?: CodeReference };
  object: string | undefined;
}

/** Code in the Function itself, or in a ConfigMap that it refers to. */
export class CodeObjects {
  readonly #client: ApiClient;
  readonly #resources: Resources;

  constructor(client: ApiClient, resources: Resources) {
    this.#client = client;
    this.#resources = resources;
  }

  /** Small code stays in the spec; for large code a ConfigMap is made before the Function that refers to it. */
  async place(name: string, code: string): Promise<PlacedCode> {
    if (fitsInline(code)) return { fields: { code }, object: undefined };
    // Named by its content: it never changes, and the same code is the same object.
    const object = `${name}-code-${hashCode(code)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, "")
      .slice(0, 16)}`;
    const configMap: ConfigMapObject = {
      metadata: { name: object, labels: { "kube-serverless.io/code": "true", [MADE_BY_LABEL]: MADE_BY_API } },
      immutable: true,
      binaryData: { [CODE_KEY]: packCode(code) },
    };
    await this.#client.create(this.#resources.configMaps, configMap, { fieldManager: API_MANAGER }).catch((error: unknown) => {
      if (!hasStatus(error, 409)) throw error;
    });
    return { fields: { codeFrom: { configMapKeyRef: { name: object, key: CODE_KEY } } }, object };
  }

  /** The ConfigMap goes with the function. */
  async tie(object: string, name: string, uid: string): Promise<void> {
    await this.#client.merge(
      this.#resources.configMaps,
      object,
      { metadata: { ownerReferences: [ownedBy(name, uid)] } },
      { fieldManager: API_MANAGER },
    );
  }

  /** Undefined where the code that it refers to is not there. */
  async read({ spec }: FunctionObject): Promise<{ code: string } | undefined> {
    if (spec.code !== undefined) return { code: spec.code };
    if (spec.codeFrom === undefined) return undefined;
    const { name, key } = spec.codeFrom.configMapKeyRef;
    const found = await this.#client.find<ConfigMapObject>(this.#resources.configMaps, name);
    // Any other could be a secret of somebody's.
    if (found?.metadata.labels?.["kube-serverless.io/code"] !== "true") return undefined;
    const code = readConfigMapCode(found, key);
    return code === undefined ? undefined : { code };
  }

  /** The reference that a user made stays beside code that wins over it; one that the API made goes. */
  async keptReference({ spec }: FunctionObject): Promise<CodeReference | undefined> {
    const { codeFrom } = spec;
    if (codeFrom === undefined || (await this.#isMadeByApi(codeFrom.configMapKeyRef.name))) return undefined;
    return codeFrom;
  }

  /** Removes the ConfigMap that the API made for the spec before. */
  async removeUnused(before: FunctionObject, after: FunctionObject): Promise<void> {
    const old = before.spec.codeFrom?.configMapKeyRef.name;
    if (old === undefined || old === after.spec.codeFrom?.configMapKeyRef.name || !(await this.#isMadeByApi(old))) return;
    await this.#client.delete(this.#resources.configMaps, old);
  }

  async #isMadeByApi(name: string): Promise<boolean> {
    const found = await this.#client.find(this.#resources.configMaps, name);
    return found?.metadata.labels?.[MADE_BY_LABEL] === MADE_BY_API;
  }
}
