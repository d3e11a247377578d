import { findNearest } from "@kube-serverless/contracts";
import type { Option } from "./option.ts";

/** What one source says about one option. */
export interface Said {
  /** How the user wrote it, for messages: `--port`, `KS_PORT`, `port in kube-serverless.json`. */
  origin: string;
  text: string;
}

/** Values by flag name, and what was wrong with the source itself. */
export interface Source {
  said: Map<string, Said>;
  problems: string[];
}

export interface FlagSource extends Source {
  wantsHelp: boolean;
  wantsVersion: boolean;
  configFile: string | undefined;
}

type Options = readonly Option<unknown>[];

/** `--flag value`, `--flag=value`, and `--flag` alone for a switch. */
export function readFlags(argv: readonly string[], options: Options): FlagSource {
  const source: FlagSource = { said: new Map(), problems: [], wantsHelp: false, wantsVersion: false, configFile: undefined };
  const byFlag = new Map(options.map((option) => [option.flag, option]));
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--help" || argument === "-h") source.wantsHelp = true;
    else if (argument === "--version") source.wantsVersion = true;
    else if (/^--(help|version)=/.test(argument)) source.problems.push(`${argument.split("=")[0]} takes no value`);
    else if (argument.startsWith("--") && argument.length > 2) readFlag(argument.slice(2), rest, byFlag, source);
    else source.problems.push(`'${argument}' is not an option; options begin with --, see --help`);
  }
  return source;
}

function readFlag(argument: string, rest: string[], byFlag: ReadonlyMap<string, Option<unknown>>, source: FlagSource): void {
  const [flag = "", ...valueParts] = argument.split("=");
  const option = byFlag.get(flag);
  const refusal = explainRefusedFlag(flag, option, byFlag);
  if (refusal !== undefined) {
    source.problems.push(refusal);
    // Its value is no option either; one complaint is enough.
    if (valueParts.length === 0) takeValue(rest);
    return;
  }
  const isSwitch = option !== undefined && option.placeholder === "";
  const inline = valueParts.length > 0 ? valueParts.join("=") : undefined;
  const text = inline ?? (isSwitch ? "true" : takeValue(rest));
  if (text === undefined) source.problems.push(`--${flag} needs a value: --${flag} ${option?.placeholder ?? "FILE"}`);
  else if (option === undefined) sayConfigFile(source, text);
  else say(source, option, { origin: `--${flag}`, text });
}

function sayConfigFile(source: FlagSource, text: string): void {
  if (source.configFile !== undefined) source.problems.push(describeTwice("config"));
  source.configFile = text;
}

function explainRefusedFlag(
  flag: string,
  option: Option<unknown> | undefined,
  byFlag: ReadonlyMap<string, Option<unknown>>,
): string | undefined {
  if (option?.isSecret === true) return `--${flag} would show in the list of processes: give it as ${option.variable}`;
  if (option !== undefined || flag === "config") return undefined;
  return `--${flag} is unknown${didYouMean(flag, ["config", "help", "version", ...byFlag.keys()], "--")}`;
}

function takeValue(rest: string[]): string | undefined {
  return rest[0]?.startsWith("--") ? undefined : rest.shift();
}

function say(source: Source, option: Option<unknown>, said: Said): void {
  const before = source.said.get(option.flag);
  if (before !== undefined && !option.isList) source.problems.push(describeTwice(option.flag));
  const text = option.isList && before !== undefined ? `${before.text},${said.text}` : said.text;
  source.said.set(option.flag, { ...said, text });
}

/** One would win in silence, and hide what is wrong with the other. The values may be secret. */
function describeTwice(flag: string): string {
  return `--${flag} is given twice: give it once`;
}

/** Variables; an empty one counts as not set. Unknown `KS_` ones are told, not refused: others may use that prefix. */
export function readVariables(
  environment: Readonly<Record<string, string | undefined>>,
  options: Options,
): Source & { warnings: string[] } {
  const source = { said: new Map<string, Said>(), problems: [], warnings: [] as string[] };
  const byVariable = new Map(options.map((option) => [option.variable, option]));
  for (const [name, text] of Object.entries(environment)) {
    if (text === undefined || text === "") continue;
    const option = byVariable.get(name);
    if (option !== undefined) source.said.set(option.flag, { origin: name, text });
    else if (name.startsWith("KS_") && name !== "KS_CONFIG") {
      source.warnings.push(`${name} is set but unknown${didYouMean(name, ["KS_CONFIG", ...byVariable.keys()], "")}`);
    }
  }
  return source;
}

/** A JSON object whose keys are the flags; lists as arrays, `pool` and `runtime-path` as objects, too. */
export function readConfigFile(path: string, content: string, options: Options): Source {
  const source: Source = { said: new Map(), problems: [] };
  const parsed = parseJsonObject(content);
  if (typeof parsed === "string") return { ...source, problems: [`${path} ${parsed}`] };
  const byFlag = new Map(options.map((option) => [option.flag, option]));
  for (const [key, value] of Object.entries(parsed)) {
    const option = byFlag.get(key);
    const text = textOfJson(value);
    if (option === undefined) source.problems.push(`'${key}' in ${path} is unknown${didYouMean(key, [...byFlag.keys()], "")}`);
    else if (text === undefined) source.problems.push(`'${key}' in ${path} must be a text, a number, true, false or a list of them`);
    else source.said.set(key, { origin: `'${key}' in ${path}`, text });
  }
  return source;
}

function parseJsonObject(content: string): Record<string, unknown> | string {
  try {
    const value: unknown = JSON.parse(content);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    return "must hold a JSON object of options";
  } catch (error) {
    return `is not JSON: ${(error as Error).message}`;
  }
}

function textOfJson(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "object" || value === null) return undefined;
  const parts = Array.isArray(value) ? value.map(textOfJson) : Object.entries(value).map(([key, part]) => textOfEntry(key, part));
  return parts.includes(undefined) ? undefined : parts.join(",");
}

function textOfEntry(key: string, value: unknown): string | undefined {
  const text = textOfJson(value);
  return text === undefined ? undefined : `${key}=${text}`;
}

function didYouMean(text: string, candidates: readonly string[], prefix: string): string {
  const nearest = findNearest(text, candidates);
  return nearest === undefined ? "; see --help" : `; did you mean ${prefix}${nearest}?`;
}
