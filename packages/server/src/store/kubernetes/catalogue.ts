import type { CronCheck } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import { defined } from "../../defined.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { Reflector, type ReflectorLog } from "../../kubernetes/reflector.ts";
import type { KubernetesObject, ObjectMeta, Persisted } from "../../kubernetes/resource.ts";
import type { DeclaredFunction, DeclaredProblem, DeclaredStatus, DeclaredWatcher } from "../declared.ts";
import type { ServedRevision, SpecWithoutCode } from "../port.ts";
import { hashCode, hashConfigMap } from "./code.ts";
import { hashRevision, type ReadSpec, readSpec } from "./function-codec.ts";
import {
  type CodeReference,
  type ConfigMapObject,
  FUNCTION_UID_LABEL,
  type FunctionObject,
  type FunctionObjectStatus,
  REDEPLOY_ANNOTATION,
  type Resources,
  type RevisionObject,
} from "./objects.ts";
import { RevisionNumbers } from "./revision-numbers.ts";

/** A Function in memory: without its code. */
export interface KnownFunction extends KubernetesObject {
  metadata: ObjectMeta & { uid: string; resourceVersion: string; creationTimestamp: string };
  read: ReadSpec;
  /** Of the code in the object itself. */
  codeHash: string | undefined;
  codeFrom: CodeReference | undefined;
  status: FunctionObjectStatus;
}

export interface KnownRevision extends KubernetesObject {
  uid: string;
  served: ServedRevision;
  codeHash: string;
}

interface KnownConfigMap extends KubernetesObject {
  hashes: ReadonlyMap<string, string>;
}

export interface CatalogueOptions {
  client: ApiClient;
  resources: Resources;
  clock: Clock;
  log: ReflectorLog;
  checkCron: CronCheck;
}

/** What the API server has of functions, in memory and in step: specs and status, good revisions, hashes of code. */
export class Catalogue {
  readonly functions: Reflector<FunctionObject, KnownFunction>;
  readonly revisions: Reflector<RevisionObject, KnownRevision>;
  readonly configMaps: Reflector<ConfigMapObject, KnownConfigMap>;
  readonly #numbers = new RevisionNumbers();
  readonly #byUid = new Map<string, KnownFunction>();
  readonly #revisionsByUid = new Map<string, Map<string, KnownRevision>>();
  #watcher: DeclaredWatcher | undefined;

  constructor({ client, resources, clock, log, checkCron }: CatalogueOptions) {
    const common = { client, clock, log };
    this.functions = new Reflector<FunctionObject, KnownFunction>({
      ...common,
      resource: resources.functions,
      transform: (object, before) => keepFunction(object, before, checkCron),
      onChange: (known) => {
        this.#byUid.set(known.metadata.uid, known);
        this.#tell(known);
      },
      onGone: (known) => {
        const declared = this.declare(known);
        this.#byUid.delete(known.metadata.uid);
        this.#numbers.forget(known.metadata.uid);
        this.#watcher?.gone(declared);
      },
    });
    this.revisions = new Reflector<RevisionObject, KnownRevision>({
      ...common,
      resource: resources.revisions,
      transform: keepRevision,
      onChange: (known) => {
        const siblings = this.#revisionsByUid.get(known.uid) ?? new Map<string, KnownRevision>();
        this.#revisionsByUid.set(known.uid, siblings.set(known.metadata.name, known));
        this.#tell(this.#byUid.get(known.uid));
      },
      onGone: (known) => {
        const siblings = this.#revisionsByUid.get(known.uid);
        siblings?.delete(known.metadata.name);
        if (siblings?.size === 0) this.#revisionsByUid.delete(known.uid);
      },
    });
    const onConfigMap = ({ metadata }: KnownConfigMap): void => {
      for (const known of this.functions.values()) {
        if (known.codeHash === undefined && known.codeFrom?.configMapKeyRef.name === metadata.name) this.#tell(known);
      }
    };
    this.configMaps = new Reflector<ConfigMapObject, KnownConfigMap>({
      ...common,
      resource: resources.configMaps,
      labelSelector: "kube-serverless.io/code=true",
      transform: (object) => ({ metadata: trim(object.metadata), hashes: hashConfigMap(object) }),
      onChange: onConfigMap,
      onGone: onConfigMap,
    });
  }

  /** Resolves when all there are were told. */
  async start(watcher: DeclaredWatcher): Promise<void> {
    await Promise.all([this.functions.start(), this.revisions.start(), this.configMaps.start()]);
    this.#watcher = watcher;
    for (const known of this.functions.values()) watcher.changed(this.declare(known));
  }

  get available(): boolean {
    return this.functions.failingForMs() === 0;
  }

  byUid(uid: string): KnownFunction | undefined {
    return this.#byUid.get(uid);
  }

  revisionsOf(uid: string): Iterable<KnownRevision> {
    return this.#revisionsByUid.get(uid)?.values() ?? [];
  }

  /** What the wanted revision of that number is made of. */
  hashOf(uid: string, revision: number): string | undefined {
    return this.#numbers.hashOf(uid, revision);
  }

  codeHashOf({ codeHash, codeFrom }: KnownFunction): string | undefined {
    if (codeHash !== undefined || codeFrom === undefined) return codeHash;
    const { name, key } = codeFrom.configMapKeyRef;
    return this.configMaps.get(name)?.hashes.get(key);
  }

  /** Takes in what a request answered, and gives it as it is to be seen. */
  observe(object: Persisted<FunctionObject>): DeclaredFunction {
    this.functions.observe(object);
    const known = this.functions.get(object.metadata.name);
    if (known?.metadata.uid === object.metadata.uid) return this.declare(known);
    // Deleted meanwhile.
    return this.declare(keepFunction(object, undefined, () => undefined));
  }

  declare(known: KnownFunction): DeclaredFunction {
    const { metadata, read, status } = known;
    const { uid, name, creationTimestamp, generation = 1, annotations } = metadata;
    const codeHash = this.codeHashOf(known);
    const problem = read.problem ?? (codeHash === undefined ? missingCode(known) : undefined);
    const hash = problem === undefined && codeHash !== undefined ? hashRevision(read.spec, codeHash) : undefined;
    const served = this.#servedOf(uid, status);
    return {
      uid,
      name,
      createdAt: creationTimestamp,
      generation,
      revision: this.#numbers.numberOf(uid, hash, status),
      spec: read.spec,
      problem,
      redeploy: annotations?.[REDEPLOY_ANNOTATION],
      status: readStatus(status),
      served,
    };
  }

  async stop(): Promise<void> {
    await Promise.all([this.functions.stop(), this.revisions.stop(), this.configMaps.stop()]);
  }

  /** The revision that the status names; where its object is still to come, the newest there is. */
  #servedOf(uid: string, { revision = 0, servedGeneration }: FunctionObjectStatus): ServedRevision | undefined {
    if (revision === 0) return undefined;
    let newest: ServedRevision | undefined;
    for (const { served } of this.revisionsOf(uid)) {
      if (served.revision === revision && served.generation === servedGeneration) return served;
      if (served.generation >= (newest?.generation ?? 0)) newest = served;
    }
    return newest;
  }

  #tell(known: KnownFunction | undefined): void {
    if (known !== undefined) this.#watcher?.changed(this.declare(known));
  }
}

function readStatus(status: FunctionObjectStatus): DeclaredStatus {
  const { lastInvocation, reason, message, runtimeVersion, lastDeployment } = status;
  return {
    state: status.state ?? "deploying",
    observedGeneration: status.observedGeneration ?? 0,
    revision: status.revision ?? 0,
    ...defined({ lastInvocation, reason, message, runtimeVersion, lastDeployment }),
    replicas: status.replicas ?? 0,
    readyReplicas: status.readyReplicas ?? 0,
    admittedPaths: status.admittedPaths ?? [],
  };
}

function missingCode({ codeFrom }: KnownFunction): DeclaredProblem {
  const { name = "", key = "" } = codeFrom?.configMapKeyRef ?? {};
  const message = `CodeMissing: no ConfigMap '${name}' with the label kube-serverless.io/code=true and code under the key '${key}' is there`;
  return { reason: "CodeMissing", message };
}

function keepFunction(object: Persisted<FunctionObject>, before: KnownFunction | undefined, checkCron: CronCheck): KnownFunction {
  const { spec, status = {} } = object;
  const metadata = trim(object.metadata);
  // Most changes are of the status alone.
  if (before !== undefined && before.metadata.generation === metadata.generation) return { ...before, metadata, status };
  return {
    metadata,
    read: readSpec(object, checkCron),
    codeHash: spec.code === undefined ? undefined : hashCode(spec.code),
    codeFrom: spec.codeFrom,
    status,
  };
}

function keepRevision(object: Persisted<RevisionObject>): KnownRevision {
  const { revision, generation, settings, codeHash } = object.spec;
  const uid = object.metadata.labels?.[FUNCTION_UID_LABEL] ?? "";
  return {
    metadata: trim(object.metadata),
    uid,
    codeHash,
    served: { revision, generation, spec: JSON.parse(settings) as SpecWithoutCode },
  };
}

/** Without what is large and nobody asks for, managedFields above all. */
function trim<M extends ObjectMeta>({ ...metadata }: M): M {
  delete (metadata as { managedFields?: unknown }).managedFields;
  const { annotations } = metadata;
  if (annotations !== undefined) {
    const redeploy = annotations[REDEPLOY_ANNOTATION];
    if (redeploy === undefined) delete metadata.annotations;
    else metadata.annotations = { [REDEPLOY_ANNOTATION]: redeploy };
  }
  return metadata;
}
