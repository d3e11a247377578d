import { type CronCheck, FunctionName, type FunctionSpec, KsError } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import type { ReflectorLog } from "../../kubernetes/reflector.ts";
import type { Persisted } from "../../kubernetes/resource.ts";
import type { TaskGroup } from "../../task-group.ts";
import type { DeclaredFunction, DeclaredFunctions, DeclaredWatcher, FunctionEventReason, LiveStatus } from "../declared.ts";
import type { StoredFunction } from "../port.ts";
import { Catalogue } from "./catalogue.ts";
import { hashCode, readConfigMapCode } from "./code.ts";
import { CodeObjects } from "./code-objects.ts";
import { EventReporter } from "./event-reporter.ts";
import { writeSpec } from "./function-codec.ts";
import { API_MANAGER, type ConfigMapObject, type FunctionObject, REDEPLOY_ANNOTATION, type Resources } from "./objects.ts";
import { GoodRevisions } from "./good-revisions.ts";
import { ServiceNames } from "./service-names.ts";
import { StatusWriter } from "./status-writer.ts";
import { asking } from "./unavailable.ts";

export interface KubernetesFunctionsOptions {
  client: ApiClient;
  resources: Resources;
  clock: Clock;
  log: ReflectorLog;
  tasks: TaskGroup;
  checkCron: CronCheck;
  /** Of this gateway, for events. */
  instance: string;
  /** The gateways' Service, by its whole name in the cluster. */
  gatewayName: string;
  /** Shapes of the HTTP triggers' paths that lead to it. */
  admittedPaths(stored: StoredFunction): readonly string[];
  endpoint(name: string): string;
}

/** Functions as custom resources: read from memory that a watch keeps in step, written for the REST API and by their owner. */
export class KubernetesFunctions implements DeclaredFunctions {
  readonly catalogue: Catalogue;
  readonly #options: KubernetesFunctionsOptions;
  readonly #status: StatusWriter;
  readonly #names: ServiceNames;
  readonly #events: EventReporter;
  readonly #code: CodeObjects;
  readonly #revisions: GoodRevisions;

  constructor(options: KubernetesFunctionsOptions) {
    this.#options = options;
    const { client, resources, gatewayName } = options;
    this.catalogue = new Catalogue(options);
    this.#status = new StatusWriter({ ...options, catalogue: this.catalogue });
    this.#names = new ServiceNames({ ...options, target: gatewayName });
    this.#events = new EventReporter(options);
    this.#code = new CodeObjects(client, resources);
    this.#revisions = new GoodRevisions({ client, resources, catalogue: this.catalogue });
  }

  async start(watcher: DeclaredWatcher): Promise<void> {
    await this.#names.start();
    await this.catalogue.start({
      changed: (declared) => watcher.changed(declared),
      gone: (declared) => {
        this.#status.release(declared.uid);
        this.#events.forget(declared.uid);
        watcher.gone(declared);
      },
    });
  }

  get available(): boolean {
    return this.catalogue.available;
  }

  *all(): Iterable<DeclaredFunction> {
    for (const known of this.catalogue.functions.values()) yield this.catalogue.declare(known);
  }

  byName(name: string): DeclaredFunction | undefined {
    const known = this.catalogue.functions.get(name);
    return known === undefined ? undefined : this.catalogue.declare(known);
  }

  byUid(uid: string): DeclaredFunction | undefined {
    const known = this.catalogue.byUid(uid);
    return known === undefined ? undefined : this.catalogue.declare(known);
  }

  async readAll(): Promise<DeclaredFunction[]> {
    const { client, resources } = this.#options;
    const before = [...this.catalogue.functions.values()].map(({ metadata }) => metadata);
    const found: DeclaredFunction[] = [];
    let next: string | undefined;
    do {
      const query = { limit: 500, continue: next };
      const page = await asking(() => client.listPage<FunctionObject>(resources.functions, query));
      for (const item of page.items) found.push(this.catalogue.observe(item));
      next = page.metadata.continue === "" ? undefined : page.metadata.continue;
    } while (next !== undefined);
    const uids = new Set(found.map(({ uid }) => uid));
    for (const { name, uid } of before) if (!uids.has(uid)) this.catalogue.functions.observeGone(name, uid);
    return found;
  }

  async read(name: string): Promise<DeclaredFunction | undefined> {
    const before = this.catalogue.functions.get(name)?.metadata.uid;
    const object = await this.#find(name);
    // What was there before the question, and is not now, is gone, though the watch may say so later.
    if (before !== undefined && object?.metadata.uid !== before) this.catalogue.functions.observeGone(name, before);
    return object === undefined ? undefined : this.catalogue.observe(object);
  }

  async readWithCode(name: string): Promise<{ declared: DeclaredFunction; code: string } | undefined> {
    const object = await this.#find(name);
    if (object === undefined) return undefined;
    const code = (await asking(() => this.#code.read(object)))?.code ?? "";
    return { declared: this.catalogue.observe(object), code };
  }

  async create(spec: FunctionSpec): Promise<DeclaredFunction> {
    const { client, resources } = this.#options;
    const { name } = spec;
    const placed = await asking(() => this.#code.place(name, spec.code));
    try {
      const object = { metadata: { name }, spec: { ...writeSpec(spec), ...placed.fields } };
      const created = await client.create<FunctionObject>(resources.functions, object, {
        fieldManager: API_MANAGER,
        fieldValidation: "Strict",
      });
      if (placed.object !== undefined) this.#adopt(placed.object, created);
      return this.catalogue.observe(created);
    } catch (error) {
      if (hasStatus(error, 409)) {
        const existing = await this.read(name);
        const state = existing?.status.state ?? "deleting";
        throw new KsError("FUNCTION_EXISTS", { message: `Function ${name} already exists. Change it with PUT`, details: { name, state } });
      }
      return asking(() => Promise.reject(error as Error));
    }
  }

  async replace(declared: DeclaredFunction, spec: FunctionSpec): Promise<DeclaredFunction | undefined> {
    const { client, resources } = this.#options;
    const object = await this.#findSame(declared);
    if (object === undefined) return undefined;
    const placed = await asking(() => this.#code.place(spec.name, spec.code));
    const codeFrom = placed.fields.codeFrom ?? (await asking(() => this.#code.keptReference(object)));
    const fields = { ...placed.fields, ...(codeFrom === undefined ? {} : { codeFrom }) };
    const changed = { ...object, spec: { ...writeSpec(spec), ...fields } };
    const written = await asking(() =>
      orUndefined(client.replace<FunctionObject>(resources.functions, changed, { fieldManager: API_MANAGER, fieldValidation: "Strict" })),
    );
    if (written === undefined) return undefined;
    if (placed.object !== undefined) this.#adopt(placed.object, written);
    this.#options.tasks.run("remove old code", () => this.#code.removeUnused(object, written));
    return this.catalogue.observe(written);
  }

  async redeploy(declared: DeclaredFunction): Promise<DeclaredFunction | undefined> {
    const { client, resources, clock } = this.#options;
    const { name, uid } = declared;
    const patch = { metadata: { uid, annotations: { [REDEPLOY_ANNOTATION]: new Date(clock.nowMs()).toISOString() } } };
    const written = await asking(() =>
      orUndefined(client.merge<FunctionObject>(resources.functions, name, patch, { fieldManager: API_MANAGER })),
    );
    return written === undefined ? undefined : this.catalogue.observe(written);
  }

  async remove(declared: DeclaredFunction): Promise<boolean> {
    const { client, resources } = this.#options;
    const object = await this.#findSame(declared);
    if (object === undefined) return false;
    const { uid, resourceVersion } = object.metadata;
    const body = { preconditions: { uid, resourceVersion }, propagationPolicy: "Background" };
    const isRemoved = (await asking(() => orUndefined(client.delete(resources.functions, declared.name, body)))) ?? false;
    if (isRemoved) this.catalogue.functions.observeGone(declared.name, uid);
    return isRemoved;
  }

  async findCode(declared: DeclaredFunction): Promise<boolean> {
    const { client, resources } = this.#options;
    const reference = this.catalogue.byUid(declared.uid)?.codeFrom?.configMapKeyRef;
    if (reference === undefined) return false;
    const found = await asking(() => client.find<ConfigMapObject>(resources.configMaps, reference.name));
    if (found?.metadata.labels?.["kube-serverless.io/code"] !== "true" || readConfigMapCode(found, reference.key) === undefined)
      return false;
    this.catalogue.configMaps.observe(found);
    return true;
  }

  async readCode(uid: string, revision: number): Promise<string> {
    const known = this.catalogue.byUid(uid);
    const kept = this.#revisions.find(uid, revision);
    if (kept !== undefined) return asking(() => this.#revisions.readCode(kept));
    if (known !== undefined) {
      const object = await this.#find(known.metadata.name);
      const code = object?.metadata.uid === uid ? (await asking(() => this.#code.read(object)))?.code : undefined;
      if (code !== undefined && this.catalogue.codeHashOf(known) === hashCode(code)) return code;
    }
    throw new KsError("INTERNAL", { message: `The code of revision ${revision} is not kept`, details: { uid, revision } });
  }

  async putFunction(stored: StoredFunction): Promise<void> {
    const { served } = stored;
    if (served !== undefined && this.#revisions.exact(stored.uid, served) === undefined) {
      const code = await this.readCode(stored.uid, served.revision);
      await asking(() => this.#revisions.keep(stored.spec.name, stored.uid, served, code));
    }
    await this.#status.put(stored);
    if (served !== undefined)
      this.#options.tasks.run("remove superseded revisions", () => this.#revisions.removeOthers(stored.uid, served));
  }

  adopt(stored: StoredFunction): void {
    this.#status.adopt(stored);
  }

  release(uid: string): void {
    this.#status.release(uid);
  }

  noteLive(uid: string, changes: Partial<LiveStatus>): void {
    this.#status.noteLive(uid, changes);
  }

  ensureName({ name, uid }: DeclaredFunction): Promise<string | undefined> {
    return this.#names.ensure(name, uid);
  }

  report(uid: string, reason: FunctionEventReason, message: string): void {
    const name = this.catalogue.byUid(uid)?.metadata.name;
    if (name !== undefined) this.#events.report(name, uid, reason, message);
  }

  async stop(): Promise<void> {
    await this.#status.stop();
    await Promise.all([this.#names.stop(), this.catalogue.stop()]);
  }

  #find(name: string): Promise<Persisted<FunctionObject> | undefined> {
    // Anybody may ask for any name; what no function can be called is no question to the API server.
    if (!FunctionName.safeParse(name).success) return Promise.resolve(undefined);
    return asking(() => this.#options.client.find<FunctionObject>(this.#options.resources.functions, name));
  }

  /** The object as it is now, where its spec is still the one that was read. */
  async #findSame({ name, uid, generation }: DeclaredFunction): Promise<Persisted<FunctionObject> | undefined> {
    const object = await this.#find(name);
    const { metadata } = object ?? {};
    return metadata?.uid === uid && (metadata.generation ?? 1) === generation ? object : undefined;
  }

  #adopt(configMap: string, { metadata: { name, uid } }: Persisted<FunctionObject>): void {
    this.#options.tasks.run("tie code to its function", () => this.#code.tie(configMap, name, uid));
  }
}

/** Undefined where somebody else was faster (409), or it is gone (404). */
async function orUndefined<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (hasStatus(error, 409) || hasStatus(error, 404)) return undefined;
    throw error;
  }
}
