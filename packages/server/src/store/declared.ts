import type { FunctionSpec, FunctionStatus } from "@kube-serverless/contracts";
import { defined } from "../defined.ts";
import type { ServedRevision, SpecWithoutCode, StoredFunction } from "./port.ts";

/** Why a declared function cannot be deployed as it is: no fault of its code. */
export interface DeclaredProblem {
  /** `InvalidSpec`, `CodeMissing` */
  reason: string;
  message: string;
}

export interface DeclaredStatus extends FunctionStatus {
  replicas: number;
  readyReplicas: number;
  /** ISO 8601. */
  lastInvocation?: string;
  /** Shapes of the HTTP triggers' paths that were let in. */
  admittedPaths: readonly string[];
}

/** A function that others may change at any time: what it says now, and what its owner said of it last. */
export interface DeclaredFunction {
  uid: string;
  name: string;
  /** ISO 8601. */
  createdAt: string;
  generation: number;
  /** Of the spec; the same for the same code, settings and environment as the one before. */
  revision: number;
  /** Where it cannot be read, as much of it as can be shown. */
  spec: SpecWithoutCode;
  problem: DeclaredProblem | undefined;
  /** Changes when somebody asks for a build of the same spec. */
  redeploy: string | undefined;
  status: DeclaredStatus;
  /** The last good revision. */
  served: ServedRevision | undefined;
}

export interface DeclaredWatcher {
  changed(declared: DeclaredFunction): void;
  gone(declared: DeclaredFunction): void;
}

/** What only runs: shown, and written seldom. */
export interface LiveStatus {
  replicas: number;
  readyReplicas: number;
  lastInvocation: string | undefined;
  /** Why its own name does not lead to it. */
  nameTaken: string | undefined;
  counters: string | undefined;
}

export type FunctionEventReason =
  | "Deployed"
  | "DeployFailed"
  | "ScaledFromZero"
  | "ScaledToZero"
  | "OutOfMemory"
  | "RouteConflict"
  | "NameTaken";

/**
 * Functions that are kept where others write, too. What is read from memory may be behind by moments; `read…` asks.
 * Everything that asks or writes rejects with KsError `STORE_UNAVAILABLE` while that place is away.
 */
export interface DeclaredFunctions {
  /** Resolves when all there are were told. */
  start(watcher: DeclaredWatcher): Promise<void>;
  /** False while the place is away. */
  readonly available: boolean;
  all(): Iterable<DeclaredFunction>;
  byName(name: string): DeclaredFunction | undefined;
  byUid(uid: string): DeclaredFunction | undefined;
  readAll(): Promise<DeclaredFunction[]>;
  read(name: string): Promise<DeclaredFunction | undefined>;
  readWithCode(name: string): Promise<{ declared: DeclaredFunction; code: string } | undefined>;
  /** @throws KsError `FUNCTION_EXISTS` */
  create(spec: FunctionSpec): Promise<DeclaredFunction>;
  /** Replaces the spec of what was read with its code; undefined when it was changed or deleted since. */
  replace(declared: DeclaredFunction, spec: FunctionSpec): Promise<DeclaredFunction | undefined>;
  /** Has the same spec built again; undefined as above. */
  redeploy(declared: DeclaredFunction): Promise<DeclaredFunction | undefined>;
  /** False when it was changed or deleted since. */
  remove(declared: DeclaredFunction): Promise<boolean>;
  /** Looks for code that was not there when the function was read; true when it has come, and was told. */
  findCode(declared: DeclaredFunction): Promise<boolean>;
  readCode(uid: string, revision: number): Promise<string>;
  /** Keeps what the owner says: the good revision if it is new, and the status. */
  putFunction(stored: StoredFunction): Promise<void>;
  /** From now on this gateway writes the function's status … */
  adopt(stored: StoredFunction): void;
  /** … and from now on another does. */
  release(uid: string): void;
  /** Notes what is live; written when it matters, counters seldom. */
  noteLive(uid: string, changes: Partial<LiveStatus>): void;
  /** Makes the function's own name lead to the gateways; a problem where another has it. */
  ensureName(declared: DeclaredFunction): Promise<string | undefined>;
  report(uid: string, reason: FunctionEventReason, message: string): void;
  stop(): Promise<void>;
}

/** A declared function as the house keeps it in memory. */
export function storedOf(declared: DeclaredFunction): StoredFunction {
  const { uid, createdAt, generation, revision, spec, status, served } = declared;
  const { observedGeneration, revision: servingRevision, reason, message, runtimeVersion, lastDeployment } = status;
  const isBehind = observedGeneration < generation;
  return {
    uid,
    createdAt,
    generation,
    revision,
    spec,
    status: {
      state: isBehind ? "deploying" : status.state,
      observedGeneration,
      revision: servingRevision,
      ...defined(isBehind ? {} : { reason, message }),
      ...defined({ runtimeVersion, lastDeployment }),
    },
    ...(served === undefined ? {} : { served }),
  };
}
