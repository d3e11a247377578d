import { z } from "zod";

/** A check in CEL, as `x-kubernetes-validations` has them. */
export interface CelRule {
  rule: string;
  message: string;
  fieldPath?: string;
}

/** OpenAPI v3 as a CustomResourceDefinition takes it: every field typed, no references, no unions. */
export interface StructuralSchema {
  type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  description?: string;
  default?: unknown;
  nullable?: boolean;
  format?: string;
  enum?: unknown[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  required?: string[];
  properties?: Record<string, StructuralSchema>;
  items?: StructuralSchema;
  additionalProperties?: StructuralSchema;
  "x-kubernetes-preserve-unknown-fields"?: true;
  "x-kubernetes-validations"?: CelRule[];
  "x-kubernetes-list-type"?: "atomic" | "map" | "set";
  "x-kubernetes-list-map-keys"?: string[];
}

type JsonSchema = z.core.JSONSchema.BaseSchema;

const COPIED = [
  "description",
  "default",
  "enum",
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
] as const;

/** What the API server can check of a schema by its structure; unions of objects told apart by `type` get rules in CEL. */
export function buildStructuralSchema(schema: z.ZodType): StructuralSchema {
  const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
  return convert(json, json.$defs ?? {});
}

function convert(schema: JsonSchema, definitions: Record<string, JsonSchema>): StructuralSchema {
  if (schema.$ref !== undefined) return convert(definitions[schema.$ref.replace("#/$defs/", "")]!, definitions);
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants !== undefined) return convertUnion(schema, variants, definitions);
  const { type } = schema;
  // Any JSON, null included.
  if (type === undefined && schema.const === undefined)
    return { ...describe(schema), nullable: true, "x-kubernetes-preserve-unknown-fields": true };
  const structural: Record<string, unknown> = { type: type ?? typeof schema.const };
  for (const key of COPIED) if (schema[key] !== undefined) structural[key] = schema[key];
  if (schema.const !== undefined) structural["enum"] = [schema.const];
  if (typeof schema.exclusiveMinimum === "number") Object.assign(structural, { minimum: schema.exclusiveMinimum, exclusiveMinimum: true });
  const built = structural as StructuralSchema;
  if (type === "array") {
    built.items = convert(schema.items as JsonSchema, definitions);
    built["x-kubernetes-list-type"] = "atomic";
  }
  if (type === "object") convertObject(schema, built, definitions);
  return built;
}

function convertObject(schema: JsonSchema, built: StructuralSchema, definitions: Record<string, JsonSchema>): void {
  if (schema.properties === undefined) built.additionalProperties = convert(schema.additionalProperties as JsonSchema, definitions);
  else {
    built.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => [name, convert(property as JsonSchema, definitions)]),
    );
  }
  if (schema.required !== undefined && schema.required.length > 0) built.required = [...schema.required];
}

/** Objects are merged; a union of anything else is taken as it comes, and checked by the server alone. */
function convertUnion(schema: JsonSchema, variants: readonly JsonSchema[], definitions: Record<string, JsonSchema>): StructuralSchema {
  const converted = variants.map((variant) => convert(variant, definitions));
  if (converted.some(({ type, properties }) => type !== "object" || properties?.["type"]?.enum?.length !== 1)) {
    return { ...describe(schema), "x-kubernetes-preserve-unknown-fields": true };
  }
  return { ...mergeTagged(converted), ...describe(schema) };
}

function describe({ description }: JsonSchema): { description?: string } {
  return description === undefined ? {} : { description };
}

function mergeTagged(variants: readonly StructuralSchema[]): StructuralSchema {
  const tags = variants.map(({ properties }) => String(properties!["type"]!.enum![0]));
  const configs = variants.map(({ properties }) => properties!["config"]!);
  const config: StructuralSchema = { type: "object", properties: {} };
  for (const each of configs) Object.assign(config.properties!, each.properties);
  return {
    type: "object",
    required: ["type", "config"],
    properties: { type: { type: "string", enum: tags }, config },
    "x-kubernetes-validations": Object.keys(config.properties!).flatMap((field) => buildFieldRules(field, tags, configs)),
  };
}

/** For whom a field of `config` is there, and for whom it must be. */
function buildFieldRules(field: string, tags: readonly string[], configs: readonly StructuralSchema[]): CelRule[] {
  const holders = tags.filter((_, index) => configs[index]!.properties?.[field] !== undefined);
  const needers = tags.filter((_, index) => configs[index]!.required?.includes(field) === true);
  const isOpaque = configs.some(({ properties }) => properties?.[field]?.["x-kubernetes-preserve-unknown-fields"] === true);
  const rules: CelRule[] = [];
  // Fields without a type are not to be seen in CEL.
  if (isOpaque) return rules;
  if (holders.length < tags.length) {
    rules.push({
      rule: `${holders.map((tag) => `self.type == '${tag}'`).join(" || ")} || !has(self.config.${field})`,
      message: `config.${field} is for triggers of type ${holders.join(", ")} alone`,
    });
  }
  for (const tag of needers) {
    rules.push({ rule: `self.type != '${tag}' || has(self.config.${field})`, message: `config.${field} is required for type ${tag}` });
  }
  return rules;
}
