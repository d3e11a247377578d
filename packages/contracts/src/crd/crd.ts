import { MAX_ENVIRONMENT_BYTES, MAX_ENVIRONMENT_ENTRIES } from "../environment.ts";
import { FunctionSpec, MAX_CODE_BYTES } from "../function.ts";
import { ENVIRONMENT_RULES, OBJECT_RULES, SPEC_RULES, TRIGGER_CONFIG_RULES } from "./function-rules.ts";
import { buildStructuralSchema, type StructuralSchema } from "./structural-schema.ts";

/** API group of the custom resources. */
export const GROUP = "kube-serverless.io";
export const VERSION = "v1alpha1";
export const API_VERSION = `${GROUP}/${VERSION}`;
/** ConfigMaps with this label, set to `true`, may hold code. */
export const CODE_LABEL = `${GROUP}/code`;

interface Column {
  name: string;
  type: "string" | "integer" | "date";
  jsonPath: string;
  description?: string;
  /** Above 0: shown by `-o wide` alone. */
  priority?: number;
}

export interface CustomResourceDefinition {
  apiVersion: "apiextensions.k8s.io/v1";
  kind: "CustomResourceDefinition";
  metadata: { name: string };
  spec: object;
}

interface Kind {
  kind: string;
  plural: string;
  shortNames?: string[];
  schema: StructuralSchema;
  columns: Column[];
  hasStatus: boolean;
}

function buildDefinition({ kind, plural, shortNames = [], schema, columns, hasStatus }: Kind): CustomResourceDefinition {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames, categories: ["kube-serverless"] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: schema },
          ...(hasStatus ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: columns,
        },
      ],
    },
  };
}

const text = (maxLength: number, description?: string): StructuralSchema => ({
  type: "string",
  maxLength,
  ...(description === undefined ? {} : { description }),
});
const time = (description: string): StructuralSchema => ({ type: "string", format: "date-time", description });
const count = (description: string): StructuralSchema => ({ type: "integer", format: "int64", minimum: 0, description });

const CONDITION: StructuralSchema = {
  type: "object",
  required: ["type", "status", "lastTransitionTime", "reason", "message"],
  properties: {
    type: text(316),
    status: { type: "string", enum: ["True", "False", "Unknown"] },
    observedGeneration: count("Generation of the spec that the condition speaks of"),
    lastTransitionTime: time("When status changed last"),
    reason: text(1024),
    message: text(32768),
  },
};

const FUNCTION_STATUS: StructuralSchema = {
  type: "object",
  properties: {
    state: { type: "string", enum: ["deploying", "running", "failed", "deleting"] },
    observedGeneration: count("Generation of the spec that the status speaks of"),
    revision: count("Revision that serves; 0 while none does"),
    servedGeneration: count("Generation of the spec that serves"),
    wantedRevision: count("Revision of the spec"),
    wantedHash: text(128, "Of all that makes wantedRevision what it is"),
    reason: text(1024, "Why it failed: a short word such as SyntaxError"),
    message: text(32768, "The whole story"),
    runtimeVersion: text(128, "Version that really runs it"),
    lastDeployment: time("When the serving revision became current"),
    lastInvocation: time("When it was called last"),
    endpoint: text(512, "Name at which it answers in the cluster"),
    replicas: count("Pods"),
    readyReplicas: count("Pods that take calls"),
    admittedPaths: {
      type: "array",
      maxItems: 64,
      items: text(1100),
      "x-kubernetes-list-type": "atomic",
      description: "HTTP triggers' paths that lead here; no other function can take them",
    },
    counters: text(262_144, "What its calls came to, for the platform's own reading"),
    conditions: { type: "array", maxItems: 16, items: CONDITION, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] },
  },
};

const CODE_FROM: StructuralSchema = {
  type: "object",
  required: ["configMapKeyRef"],
  description: `Code that is kept in a ConfigMap of the same namespace, labelled ${CODE_LABEL}=true; as text, or gzipped under binaryData`,
  properties: {
    configMapKeyRef: {
      type: "object",
      required: ["name", "key"],
      properties: { name: { ...text(253), minLength: 1 }, key: { ...text(253), minLength: 1 } },
    },
  },
};

function buildFunctionSchema(): StructuralSchema {
  const spec = buildStructuralSchema(FunctionSpec);
  const { name: _name, code, environment, triggers, ...properties } = spec.properties!;
  const config = triggers!.items!.properties!["config"]!;
  config["x-kubernetes-validations"] = [...TRIGGER_CONFIG_RULES];
  spec.properties = {
    ...properties,
    handler: { ...properties["handler"]!, pattern: "^[A-Za-z0-9_/-]+(\\.[A-Za-z0-9_/-]+)*$" },
    code: { ...code!, maxLength: MAX_CODE_BYTES },
    codeFrom: CODE_FROM,
    environment: {
      ...environment!,
      maxProperties: MAX_ENVIRONMENT_ENTRIES,
      additionalProperties: { type: "string", maxLength: MAX_ENVIRONMENT_BYTES },
      "x-kubernetes-validations": [...ENVIRONMENT_RULES],
    },
    triggers: triggers!,
  };
  spec.required = spec.required!.filter((field) => field !== "name" && field !== "code");
  spec["x-kubernetes-validations"] = [...SPEC_RULES];
  return {
    type: "object",
    description: "A function: code that runs when it is called, and scales from zero.",
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object", properties: { name: { type: "string", maxLength: 50, pattern: "^[a-z]([a-z0-9-]*[a-z0-9])?$" } } },
      spec,
      status: FUNCTION_STATUS,
    },
    "x-kubernetes-validations": [...OBJECT_RULES],
  };
}

const IMMUTABLE = [{ rule: "self == oldSelf", message: "a revision never changes" }];

const REVISION_SCHEMA: StructuralSchema = {
  type: "object",
  description: "A spec of a function that has loaded once: the only copy of what serves while a later spec fails.",
  required: ["spec"],
  properties: {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    metadata: { type: "object" },
    spec: {
      type: "object",
      required: ["function", "revision", "generation", "settings", "code"],
      properties: {
        function: text(50, "Name of the function"),
        revision: count("Revision of the function"),
        generation: count("Generation of the function's spec"),
        settings: text(1_500_000, "The spec without its code, as JSON"),
        code: text(1_500_000, "The code, gzipped, in base64"),
        codeHash: text(128, "SHA-256 of the code"),
      },
      "x-kubernetes-validations": IMMUTABLE,
    },
  },
};

const CRON_RECORD_SCHEMA: StructuralSchema = {
  type: "object",
  description: "Which planned times of a function's cron triggers were claimed, and what became of them.",
  properties: {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    metadata: { type: "object" },
    triggers: {
      type: "array",
      maxItems: 512,
      "x-kubernetes-list-type": "atomic",
      items: {
        type: "object",
        required: ["id", "runs"],
        properties: {
          id: text(2048, "What the trigger is the same by"),
          runs: {
            type: "array",
            maxItems: 4096,
            "x-kubernetes-list-type": "atomic",
            items: text(512),
            description: "Planned time in milliseconds since 1970, what became of it, its request and why it failed, oldest first",
          },
        },
      },
    },
  },
};

/** The custom resources, by the file that each is written to. */
export function buildCustomResourceDefinitions(): Map<string, CustomResourceDefinition> {
  const age: Column = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };
  const ready = '.status.conditions[?(@.type=="Ready")]';
  const functionDefinition = buildDefinition({
    kind: "Function",
    plural: "functions",
    shortNames: ["fn"],
    schema: buildFunctionSchema(),
    hasStatus: true,
    columns: [
      { name: "Runtime", type: "string", jsonPath: ".spec.runtime" },
      { name: "Ready", type: "string", jsonPath: `${ready}.status` },
      { name: "Reason", type: "string", jsonPath: `${ready}.reason` },
      { name: "Replicas", type: "integer", jsonPath: ".status.replicas" },
      { name: "Revision", type: "integer", jsonPath: ".status.revision" },
      { name: "Endpoint", type: "string", jsonPath: ".status.endpoint", priority: 1 },
      { name: "Version", type: "string", jsonPath: ".status.runtimeVersion", priority: 1 },
      age,
    ],
  });
  const revisionDefinition = buildDefinition({
    kind: "FunctionRevision",
    plural: "functionrevisions",
    schema: REVISION_SCHEMA,
    hasStatus: false,
    columns: [
      { name: "Function", type: "string", jsonPath: ".spec.function" },
      { name: "Revision", type: "integer", jsonPath: ".spec.revision" },
      { name: "Generation", type: "integer", jsonPath: ".spec.generation" },
      age,
    ],
  });
  const cronDefinition = buildDefinition({
    kind: "CronRecord",
    plural: "cronrecords",
    schema: CRON_RECORD_SCHEMA,
    hasStatus: false,
    columns: [age],
  });
  return new Map([
    ["functions.yaml", functionDefinition],
    ["functionrevisions.yaml", revisionDefinition],
    ["cronrecords.yaml", cronDefinition],
  ]);
}
