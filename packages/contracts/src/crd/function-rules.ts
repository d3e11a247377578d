import { MAX_ENVIRONMENT_BYTES } from "../environment.ts";
import { MAX_CODE_BYTES } from "../function.ts";
import { RESERVED_SEGMENTS } from "../trigger.ts";
import type { CelRule } from "./structural-schema.ts";

/** A string in CEL. */
function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

const hex = (first: string, second: string): string => `%[${first}][${second}]`;
const CONTINUATION = hex("89AaBb", "0-9A-Fa-f");

/** Percent encodings that are UTF-8 and no character that a path may not have; RE2 has no way to exclude but to leave out. */
const ENCODED = [
  hex("2", "0-9A-Ea-e"),
  hex("346", "0-9A-Fa-f"),
  hex("5", "0-9A-Bd-fD-Fab"),
  hex("7", "0-9A-Ea-e"),
  `(${hex("Cc", "2-9A-Fa-f")}|${hex("Dd", "0-9A-Fa-f")})${CONTINUATION}`,
  `%[Ee]0${hex("AaBb", "0-9A-Fa-f")}${CONTINUATION}`,
  `%[Ee][1-9A-Ca-cEeFf](${CONTINUATION}){2}`,
  `%[Ee][Dd]${hex("89", "0-9A-Fa-f")}${CONTINUATION}`,
  `%[Ff]0${hex("9AaBb", "0-9A-Fa-f")}(${CONTINUATION}){2}`,
  `%[Ff][1-3](${CONTINUATION}){3}`,
  `%[Ff]4${hex("8", "0-9A-Fa-f")}(${CONTINUATION}){2}`,
].join("|");

const CHARACTER = `[^/*?#%\\\\\\x00-\\x1f\\x7f]|${ENCODED}`;
const LITERAL = `([^:/*?#%\\\\\\x00-\\x1f\\x7f]|${ENCODED})(${CHARACTER})*`;
const PARAMETER = ":[A-Za-z_][A-Za-z0-9_]*";

/** What an HTTP trigger's path looks like; `.` and `..`, reserved words and repeated parameters are told apart from it. */
export const PATH_PATTERN = `^(/(${LITERAL}|${PARAMETER}))*(/\\*|/)?$`;

/** A character as it stands in a path: itself, or percent-encoded. */
function encodable(character: string): string {
  const code = character.charCodeAt(0).toString(16);
  const anyCase = code.replaceAll(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
  return `(${character === "." ? "[.]" : character}|%${anyCase})`;
}

const RESERVED = `^/(${RESERVED_SEGMENTS.map((word) => Array.from(word, encodable).join("")).join("|")})(/|$)`;
const DOT_SEGMENT = "/([.]|%2[eE]){1,2}(/|$)";

const MAX_NAME_BYTES = 200;

function nameRules(field: string): CelRule[] {
  const value = `self.${field}`;
  return [
    {
      rule: `!has(${value}) || bytes(${value}).size() <= ${MAX_NAME_BYTES}`,
      message: `must be at most ${MAX_NAME_BYTES} bytes of UTF-8`,
      fieldPath: `.${field}`,
    },
    {
      rule: `!has(${value}) || !${value}.matches('[\\\\x00-\\\\x1f\\\\x7f]')`,
      message: "must not have control characters",
      fieldPath: `.${field}`,
    },
  ];
}

/** Of `spec.triggers[].config`. */
export const TRIGGER_CONFIG_RULES: readonly CelRule[] = [
  {
    rule: `!has(self.path) || (self.path != '' && self.path.matches(${quote(PATH_PATTERN)}) && !self.path.matches(${quote(DOT_SEGMENT)}))`,
    message: "must be an absolute path: literal segments, :name for a parameter, /* at the end for the rest",
    fieldPath: ".path",
  },
  {
    rule: `!has(self.path) || !self.path.matches(${quote(RESERVED)})`,
    message: `must not begin with a segment of the platform's own: ${RESERVED_SEGMENTS.map((word) => `/${word}`).join(", ")}`,
    fieldPath: ".path",
  },
  {
    rule: "!has(self.path) || !self.path.matches('/:__proto__(/|$)')",
    message: "must not have a parameter called __proto__",
    fieldPath: ".path",
  },
  {
    rule: "!has(self.timezone) || self.timezone.matches('^[A-Za-z]')",
    message: "is no time zone: give an IANA name such as Europe/Kyiv",
    fieldPath: ".timezone",
  },
  {
    rule: "!has(self.queue) || (!self.queue.startsWith('amq.') && self.queue != '.' && self.queue != '..')",
    message: "must not be '.' or '..', nor begin with 'amq.', which RabbitMQ keeps for itself",
    fieldPath: ".queue",
  },
  ...["queue", "exchange", "routingKey"].flatMap(nameRules),
];

/** Of `spec`. */
export const SPEC_RULES: readonly CelRule[] = [
  { rule: "has(self.code) || has(self.codeFrom)", message: "code or codeFrom is required" },
  {
    rule: `!has(self.code) || bytes(self.code).size() <= ${MAX_CODE_BYTES}`,
    message: `must be at most ${MAX_CODE_BYTES} bytes of UTF-8`,
    fieldPath: ".code",
  },
  { rule: "self.minReplicas <= self.maxReplicas", message: "must not be above maxReplicas", fieldPath: ".minReplicas" },
  {
    rule: "!self.runtime.startsWith('nodejs') || self.handler.contains('.')",
    message: "must name a file and its export, such as index.handler",
    fieldPath: ".handler",
  },
  {
    rule:
      "self.triggers.all(t, t.type != 'cron' || !has(t.config.schedule) || self.triggers.exists_one(u, u.type == 'cron' && has(u.config.schedule) && " +
      "u.config.schedule == t.config.schedule && (has(u.config.timezone) ? u.config.timezone : 'UTC') == (has(t.config.timezone) ? t.config.timezone : 'UTC')))",
    message: "two cron triggers are the same",
    fieldPath: ".triggers",
  },
  {
    rule:
      "self.triggers.all(t, t.type != 'queue' || !has(t.config.queue) || self.triggers.exists_one(u, u.type == 'queue' && has(u.config.queue) && " +
      "u.config.queue == t.config.queue && (has(u.config.exchange) ? u.config.exchange : '') == (has(t.config.exchange) ? t.config.exchange : '')))",
    message: "two queue triggers are the same",
    fieldPath: ".triggers",
  },
];

/** Of `spec.environment`. */
export const ENVIRONMENT_RULES: readonly CelRule[] = [
  {
    rule: "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$') && name != '__proto__')",
    message: "names are letters, digits and _, and begin with no digit",
  },
  {
    rule: "self.all(name, !name.matches('^(LD_.*|PYTHON.*|NODE_OPTIONS|GOCOVERDIR|GODEBUG|GOGC|GOMAXPROCS|GOMEMLIMIT|GORACE|GOROOT|GOTRACEBACK)$'))",
    message: "LD_*, PYTHON*, NODE_OPTIONS and Go's own are read when a process starts, and replicas wait already started",
  },
  { rule: "self.all(name, !self[name].contains('\\u0000'))", message: "values must not have a NUL character" },
  {
    rule: `self.map(name, bytes(name).size() + bytes(self[name]).size()).sum() <= ${MAX_ENVIRONMENT_BYTES}`,
    message: `must be at most ${MAX_ENVIRONMENT_BYTES} bytes together`,
  },
];

/** Of the object itself. */
export const OBJECT_RULES: readonly CelRule[] = [
  { rule: "!self.metadata.name.startsWith('kube-')", message: "metadata.name must not begin with 'kube-'" },
];
