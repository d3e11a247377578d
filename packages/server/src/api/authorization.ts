import type { IncomingMessage } from "node:http";
import { type Access, type ErrorCode, KsError, type Resource, type Verb } from "@kube-serverless/contracts";
import type { FastifyInstance } from "fastify";
import { buildAccessError } from "../security/access.ts";
import type { AccessControl, RequestOrigin } from "../security/access-control.ts";
import type { Authentication } from "../security/authentication/authentication.ts";
import { type Credentials, isCredential } from "../security/authentication/credentials.ts";

/** What a route asks of its caller; over the function that `:name` names, or the queue that `:queue` does. */
export interface AccessRule {
  verb: Verb;
  resource: Resource;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** `open`: for everybody. A route must say. */
    access?: AccessRule | "open";
  }
  interface FastifyRequest {
    access: RequestAccess;
  }
}

/** Options of a route that asks for this. */
export function allow(verb: Verb, resource: Resource): { config: { access: AccessRule } } {
  return { config: { access: { verb, resource } } };
}

/** Options of a route for everybody. */
export const OPEN = { config: { access: "open" } } as const;

/** Who makes a request, and what they may do. */
export class RequestAccess {
  readonly #control: AccessControl;
  readonly #credentials: Credentials;
  readonly #authentication: Authentication;
  readonly #origin: RequestOrigin;

  constructor(control: AccessControl, credentials: Credentials, authentication: Authentication, origin: RequestOrigin) {
    this.#control = control;
    this.#credentials = credentials;
    this.#authentication = authentication;
    this.#origin = origin;
  }

  may(verb: Verb, resource: Resource, functionName?: string): boolean {
    return this.#control.decide(this.#authentication, verb, resource, functionName) === "allowed";
  }

  /** The same for what goes on long after it began: the key may have gone, the token may have ended. */
  async mayStill(verb: Verb, resource: Resource, functionName: string): Promise<boolean> {
    const authentication = await this.#control.authenticate(this.#credentials);
    return this.#control.decide(authentication, verb, resource, functionName) === "allowed";
  }

  maySee(functionName: string): boolean {
    return this.#control.maySee(this.#authentication, functionName);
  }

  /** @throws KsError `UNAUTHENTICATED`, `FORBIDDEN`, or the 404 of what does not exist */
  require(verb: Verb, resource: Resource, functionName?: string): void {
    this.#enforce(this.#control.decide(this.#authentication, verb, resource, functionName), verb, resource, functionName);
  }

  /** @throws the same; a queue has no owner: what it holds goes to the functions that take from it. */
  requireQueue(verb: Verb, resource: "queues" | "queues/messages", queue: string, takers: readonly string[]): void {
    this.#enforce(this.#control.decideQueue(this.#authentication, verb, resource, takers), verb, resource, queue);
  }

  /**
   * For a function that is to take from these queues: what it takes is meant for the functions that take from them already, so only who
   * may change those may share it out.
   * @throws KsError `FORBIDDEN`
   */
  requireTaking(queues: readonly string[], takersOf: (queue: string) => readonly string[]): void {
    const queue = queues.find((name) => takersOf(name).some((taker) => !this.may("update", "functions", taker)));
    if (queue === undefined) return;
    this.#note("create", "queues/messages", queue, "FORBIDDEN");
    throw new KsError("FORBIDDEN", {
      message: `Forbidden: functions that you may not change take from the queue ${queue} or from its dead letters; use another queue, or ask who may`,
      details: { verb: "create", resource: "queues/messages", queue },
    });
  }

  /** Headers of the request that may go on to a function: without what proved the caller. */
  withoutCredentials(headers: Readonly<Record<string, string>>): Record<string, string> {
    const { strip } = this.#authentication;
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !isCredential(name) || !strip.includes(name)));
  }

  /** Notes a change for the audit log. */
  noteChange(verb: Verb, resource: Resource, target: string, details?: Readonly<Record<string, string | number | boolean>>): void {
    this.#control.noteChange(this.#authentication, { verb, resource, target, details }, this.#origin);
  }

  #enforce(access: Access, verb: Verb, resource: Resource, target: string | undefined): void {
    if (access === "allowed") return;
    const notFound = resource.startsWith("queues") ? "QUEUE_NOT_FOUND" : "FUNCTION_NOT_FOUND";
    const error = buildAccessError(access, this.#authentication, { verb, resource, notFound });
    this.#note(verb, resource, target, access === "not-found" ? "FORBIDDEN" : error.code);
    throw error;
  }

  #note(verb: Verb, resource: Resource, target: string | undefined, refused: ErrorCode): void {
    this.#control.noteRefusal(this.#authentication, { verb, resource, target, refused }, this.#origin);
  }
}

export interface AuthorizationOptions {
  control: AccessControl;
  credentialsOf(request: IncomingMessage): Credentials;
  /** Address of the caller, as the platform trusts it. */
  clientAddress(request: IncomingMessage): string;
  /** Names of the functions that take from a queue. */
  takersOf(queue: string): readonly string[];
}

/** Asks on every route what it says; a route that says nothing is a defect and stops the start. */
export function addAuthorization(app: FastifyInstance, { control, credentialsOf, clientAddress, takersOf }: AuthorizationOptions): void {
  app.decorateRequest("access");
  app.addHook("onRoute", ({ url, config }) => {
    if (config?.access === undefined) throw new KsError("INTERNAL", { message: `The route ${url} does not say who may use it` });
  });
  app.addHook("onRequest", async (request) => {
    const origin = { from: clientAddress(request.raw), requestId: request.id };
    const credentials = credentialsOf(request.raw);
    const authentication = await control.authenticate(credentials);
    request.access = new RequestAccess(control, credentials, authentication, origin);
    const rule = request.routeOptions.config.access;
    if (typeof rule !== "object") return;
    const { verb, resource } = rule;
    const { name, queue = "" } = (request.params ?? {}) as { name?: string; queue?: string };
    if (resource === "queues" || resource === "queues/messages") request.access.requireQueue(verb, resource, queue, takersOf(queue));
    else request.access.require(verb, resource, name);
  });
}
