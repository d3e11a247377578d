import { isIP } from "node:net";
import { join, resolve } from "node:path";
import { Runtime } from "@kube-serverless/contracts";
import type { DefaultContext, Parsed } from "./option.ts";

const MAX_TIMER_MS = 2 ** 31 - 1;
const DURATION_UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, "": 1000 };
const SIZE_UNITS_MIB: Record<string, number> = { mib: 1, gib: 1024, m: 1, g: 1024, mb: 1, gb: 1024, "": 1 };

export function parseText(text: string): Parsed<string> {
  return text === "" ? { problem: "must not be empty" } : { value: text };
}

/** A name in Kubernetes: an RFC 1123 label. */
export function parseLabel(text: string): Parsed<string> {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return { value: text };
  return { problem: `must be lower-case letters, digits and '-', such as kube-serverless, not '${text}'` };
}

export function parseOptionalText(text: string): Parsed<string | undefined> {
  return { value: text === "" ? undefined : text };
}

/** An absolute path from one that may be relative or begin with `~/`. */
export function parsePath(text: string, context: DefaultContext): Parsed<string> {
  if (text === "" || text.includes("\0")) return { problem: "must be a path" };
  if (text === "~" || text.startsWith("~/")) return { value: join(context.homeFolder, text.slice(1)) };
  return { value: resolve(context.currentFolder, text) };
}

/** Path of a file that can be read. */
export function parseOptionalFile(text: string, context: DefaultContext): Parsed<string | undefined> {
  if (text === "") return { value: undefined };
  const parsed = parsePath(text, context);
  if ("problem" in parsed) return parsed;
  try {
    context.readFile(parsed.value);
    return parsed;
  } catch (error) {
    return { problem: `names a file that cannot be read: ${(error as Error).message}` };
  }
}

export function parseSwitch(text: string): Parsed<boolean> {
  if (["true", "1", "yes", "on"].includes(text.toLowerCase())) return { value: true };
  if (["false", "0", "no", "off", ""].includes(text.toLowerCase())) return { value: false };
  return { problem: `must be true or false, not '${text}'` };
}

export function parseInteger(minimum: number, maximum: number): (text: string) => Parsed<number> {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= minimum && value <= maximum) return { value };
    return { problem: `must be a whole number from ${minimum} to ${maximum}, not '${text}'` };
  };
}

export function parsePrice(text: string): Parsed<number> {
  const value = Number(text);
  if (/^\d+(\.\d+)?(e-?\d{1,3})?$/i.test(text) && Number.isFinite(value)) return { value };
  return { problem: `must be a number of US dollars such as 0.0000002, not '${text}'` };
}

/** Milliseconds from `500ms`, `60s`, `2m`, `1h`; a bare number is seconds. */
export function parseDurationMs(minimumMs: number): (text: string) => Parsed<number> {
  return (text) => {
    const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|)$/i.exec(text);
    const unitMs = DURATION_UNITS_MS[match?.[2]?.toLowerCase() ?? "-"];
    if (match === null || unitMs === undefined) return { problem: `must be a time such as 60s, 500ms or 2m, not '${text}'` };
    const value = Math.round(Number(match[1]) * unitMs);
    if (value < minimumMs) return { problem: `must be at least ${minimumMs} ms, not '${text}'` };
    if (value > MAX_TIMER_MS) return { problem: `must be at most 24 days, not '${text}'` };
    return { value };
  };
}

/** MiB from `512`, `512MiB`, `8GiB`, or a percentage of what the machine has. */
export function parseMemoryMiB(minimumMiB: number): (text: string, context: DefaultContext) => Parsed<number> {
  return (text, context) => {
    const match = /^(\d{1,9}(?:\.\d{1,3})?)\s*(%|[mg]i?b?|)$/i.exec(text);
    const unit = match?.[2]?.toLowerCase() ?? "-";
    const unitMiB = unit === "%" ? context.machineMemoryMiB / 100 : SIZE_UNITS_MIB[unit];
    if (match === null || unitMiB === undefined) return { problem: `must be a size such as 4GiB, 512MiB or 80%, not '${text}'` };
    if (unit === "%" && Number(match[1]) > 100) return { problem: `must be at most 100%, not '${text}'` };
    const value = Math.floor(Number(match[1]) * unitMiB);
    return value < minimumMiB ? { problem: `must be at least ${minimumMiB} MiB, not '${text}'` } : { value };
  };
}

export function parseChoice<const C extends readonly string[]>(choices: C): (text: string) => Parsed<C[number]> {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    return found === undefined ? { problem: `must be one of ${choices.join(", ")}, not '${text}'` } : { value: found };
  };
}

/** Parts between commas, each parsed; the first wrong one is the problem. */
export function parseList<T>(
  parsePart: (text: string, context: DefaultContext) => Parsed<T>,
): (text: string, context: DefaultContext) => Parsed<readonly T[]> {
  return (text, context) => {
    const values: T[] = [];
    for (const part of text.split(",").map((piece) => piece.trim())) {
      if (part === "") continue;
      const parsed = parsePart(part, context);
      if ("problem" in parsed) return parsed;
      values.push(parsed.value);
    }
    return { value: values };
  };
}

export function parseHost(text: string): Parsed<string> {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  // No name ends in digits alone (URL standard, "ends in a number"): it was meant as an address.
  if (isIP(bare) === 0 && /(^|\.)\d+$/.test(bare)) return { problem: `must be an address or a host name, and '${text}' is no address` };
  if (isIP(bare) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(bare)) return { value: bare.toLowerCase() };
  return { problem: `must be an address or a host name without a port, not '${text}'` };
}

export function parseOrigin(text: string): Parsed<string> {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.origin === text.replace(/\/$/, "").toLowerCase()) return { value: url.origin };
  return { problem: `must be an origin such as https://console.example.com, not '${text}'` };
}

/** An address, or a network in CIDR form. */
export function parseNetwork(text: string): Parsed<string> {
  const [address = "", prefix, ...rest] = text.split("/");
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1;
  const isPrefixRight = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
  if (bits > 0 && rest.length === 0 && isPrefixRight) return { value: text };
  return { problem: `must be an address or a network such as 10.0.0.0/8, not '${text}'` };
}

export function parseUrl(protocols: readonly string[]): (text: string) => Parsed<string | undefined> {
  return (text) => {
    if (text === "") return { value: undefined };
    const url = URL.parse(text);
    if (url !== null && protocols.includes(url.protocol)) return { value: text };
    // Not quoted: such addresses carry passwords.
    return { problem: `must be an address that begins with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}` };
  };
}

export interface UidRange {
  first: number;
  last: number;
}

export function parseUidRange(text: string): Parsed<UidRange> {
  const match = /^(\d{1,10})-(\d{1,10})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match !== null && first >= 1000 && last >= first && last < 2 ** 32 - 1) return { value: { first, last } };
  return { problem: `must be two user ids such as 70000-79999, none below 1000, not '${text}'` };
}

/** Size of one pool: waiting replicas of a runtime in one memory class. */
export interface PoolSize {
  runtime: string;
  /** Undefined: the default class. */
  memoryMiB: number | undefined;
  size: number;
}

/** `nodejs18=4`, or `nodejs18@512=1` for another memory class. */
export function parsePoolSize(text: string): Parsed<PoolSize> {
  const match = /^([a-z]+\d+)(?:@(\d{1,5}))?=(\d{1,4})$/.exec(text);
  if (match === null) return { problem: `must be such as nodejs18=4 or nodejs18@512=1, not '${text}'` };
  const [, runtime = "", memory, size] = match;
  if (!Runtime.safeParse(runtime).success) return unknownRuntime(runtime);
  return { value: { runtime, memoryMiB: memory === undefined ? undefined : Number(memory), size: Number(size) } };
}

export interface RuntimePath {
  runtime: string;
  path: string;
}

/** `python39=/opt/python3.9/bin/python3.9`. */
export function parseRuntimePath(text: string, { isProgram }: DefaultContext): Parsed<RuntimePath> {
  const match = /^([a-z]+\d+)=(\/.+)$/.exec(text);
  if (match === null) return { problem: `must be such as python39=/opt/python3.9/bin/python3.9 with an absolute path, not '${text}'` };
  const [, runtime = "", path = ""] = match;
  if (!Runtime.safeParse(runtime).success) return unknownRuntime(runtime);
  if (!isProgram(path)) return { problem: `names ${path} for ${runtime}, which is no program` };
  return { value: { runtime, path } };
}

function unknownRuntime(name: string): { problem: string } {
  return { problem: `names the unknown runtime '${name}'; known are nodejs18, python39, go119 and newer ones` };
}
