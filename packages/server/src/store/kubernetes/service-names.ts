import type { Clock } from "../../clock.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import { Reflector, type ReflectorLog } from "../../kubernetes/reflector.ts";
import type { KubernetesObject } from "../../kubernetes/resource.ts";
import { FUNCTION_LABEL, FUNCTION_UID_LABEL, OWNER_MANAGER, ownedBy, type Resources, type ServiceObject } from "./objects.ts";
import { asking } from "./unavailable.ts";

interface KnownService extends KubernetesObject {
  externalName: string | undefined;
}

export interface ServiceNamesOptions {
  client: ApiClient;
  resources: Resources;
  clock: Clock;
  log: ReflectorLog;
  /** The gateways' Service by its whole name: a shorter one does not resolve from elsewhere. */
  target: string;
}

/** One Service of type ExternalName a function: its name in the cluster, at no replica as at ten. */
export class ServiceNames {
  readonly #options: ServiceNamesOptions;
  readonly #services: Reflector<ServiceObject, KnownService>;

  constructor(options: ServiceNamesOptions) {
    this.#options = options;
    this.#services = new Reflector<ServiceObject, KnownService>({
      client: options.client,
      resource: options.resources.services,
      clock: options.clock,
      log: options.log,
      transform: ({ metadata: { name, uid, resourceVersion, labels, ownerReferences }, spec }) => ({
        metadata: {
          name,
          uid,
          resourceVersion,
          ...(labels === undefined ? {} : { labels }),
          ...(ownerReferences === undefined ? {} : { ownerReferences }),
        },
        externalName: spec.externalName,
      }),
    });
  }

  start(): Promise<void> {
    return this.#services.start();
  }

  stop(): Promise<void> {
    return this.#services.stop();
  }

  /** Undefined when the name leads to the gateways, else why it does not. A Service of others is never touched. */
  async ensure(name: string, uid: string): Promise<string | undefined> {
    const known = this.#services.get(name);
    if (known !== undefined && !isOurs(known)) return `The Service ${name} is there and not of the platform; give one of them another name`;
    if (known !== undefined && known.externalName === this.#options.target && known.metadata.labels?.[FUNCTION_UID_LABEL] === uid)
      return undefined;
    return asking(() => this.#write(name, uid, known !== undefined));
  }

  async #write(name: string, uid: string, exists: boolean): Promise<string | undefined> {
    const { client, resources } = this.#options;
    const service = this.#build(name, uid);
    try {
      const written = exists
        ? await client.apply<ServiceObject>(resources.services, service, OWNER_MANAGER)
        : await client.create<ServiceObject>(resources.services, service, { fieldManager: OWNER_MANAGER });
      this.#services.observe(written);
      return undefined;
    } catch (error) {
      if (!hasStatus(error, 409) || exists) throw error;
    }
    const found = await client.find<ServiceObject>(resources.services, name);
    if (found === undefined) return this.#write(name, uid, false);
    this.#services.observe(found);
    return isOurs(found)
      ? this.#write(name, uid, true)
      : `The Service ${name} is there and not of the platform; give one of them another name`;
  }

  #build(name: string, uid: string): ServiceObject {
    return {
      metadata: {
        name,
        labels: { [FUNCTION_LABEL]: name, [FUNCTION_UID_LABEL]: uid, "app.kubernetes.io/managed-by": "kube-serverless" },
        ownerReferences: [ownedBy(name, uid)],
      },
      spec: {
        type: "ExternalName",
        externalName: this.#options.target,
        ports: [{ name: "http", port: 80, targetPort: 80, protocol: "TCP" }],
      },
    };
  }
}

function isOurs({ metadata: { labels } }: KubernetesObject): boolean {
  return labels?.["app.kubernetes.io/managed-by"] === "kube-serverless" && labels[FUNCTION_LABEL] !== undefined;
}
