import { KsError } from "@kube-serverless/contracts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import type { ServedRevision } from "../port.ts";
import type { Catalogue, KnownRevision } from "./catalogue.ts";
import { hashCode, packCode, unpackCode } from "./code.ts";
import { FUNCTION_LABEL, FUNCTION_UID_LABEL, OWNER_MANAGER, ownedBy, type Resources, type RevisionObject } from "./objects.ts";

/** What has loaded once: an object a spec, which never changes, kept until another has loaded. */
export class GoodRevisions {
  readonly #client: ApiClient;
  readonly #resources: Resources;
  readonly #catalogue: Catalogue;

  constructor({ client, resources, catalogue }: { client: ApiClient; resources: Resources; catalogue: Catalogue }) {
    this.#client = client;
    this.#resources = resources;
    this.#catalogue = catalogue;
  }

  /** Any object that has this revision's code. */
  find(uid: string, revision: number): KnownRevision | undefined {
    for (const known of this.#catalogue.revisionsOf(uid)) if (known.served.revision === revision) return known;
    return undefined;
  }

  exact(uid: string, { revision, generation }: ServedRevision): KnownRevision | undefined {
    for (const known of this.#catalogue.revisionsOf(uid)) {
      if (known.served.revision === revision && known.served.generation === generation) return known;
    }
    return undefined;
  }

  async readCode({ metadata: { name }, codeHash }: KnownRevision): Promise<string> {
    const object = await this.#client.get<RevisionObject>(this.#resources.revisions, name);
    const code = unpackCode(object.spec.code);
    if (hashCode(code) !== codeHash) throw new KsError("INTERNAL", { message: `The code kept in FunctionRevision ${name} is damaged` });
    return code;
  }

  async keep(name: string, uid: string, served: ServedRevision, code: string): Promise<void> {
    const { revision, generation, spec } = served;
    const object: RevisionObject = {
      metadata: {
        name: `${name}-r${revision}-g${generation}-${uid.slice(0, 8)}`,
        labels: { [FUNCTION_LABEL]: name, [FUNCTION_UID_LABEL]: uid },
        ownerReferences: [ownedBy(name, uid)],
      },
      spec: { function: name, revision, generation, settings: JSON.stringify(spec), code: packCode(code), codeHash: hashCode(code) },
    };
    try {
      this.#catalogue.revisions.observe(await this.#client.create(this.#resources.revisions, object, { fieldManager: OWNER_MANAGER }));
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      // Kept already, by a write whose answer was lost.
      this.#catalogue.revisions.observe(await this.#client.get<RevisionObject>(this.#resources.revisions, object.metadata.name));
    }
  }

  async removeOthers(uid: string, { revision, generation }: ServedRevision): Promise<void> {
    for (const { metadata, served } of [...this.#catalogue.revisionsOf(uid)]) {
      if (served.revision === revision && served.generation === generation) continue;
      await this.#client.delete(this.#resources.revisions, metadata.name);
    }
  }
}
