export const MAX_ENVIRONMENT_ENTRIES = 128;
export const MAX_ENVIRONMENT_BYTES = 64 * 1024;

/** Read by Go's run time before `main`, as `LD_*` is by the loader and the others by their interpreter. */
const GO_START_NAMES = ["GOCOVERDIR", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOROOT", "GOTRACEBACK"];

/** Why a function may not set this variable, or undefined when it may. */
export function checkEnvironmentName(name: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return "is not a name of letters, digits and _ that begins with no digit";
  if (name === "__proto__") return "cannot be used as a name";
  if (name.startsWith("LD_") || name.startsWith("PYTHON") || name === "NODE_OPTIONS" || GO_START_NAMES.includes(name)) {
    return "is read when a process starts, and replicas wait already started: set it within the code";
  }
  return undefined;
}

/** Why a variable may not have this value, or undefined when it may. */
export function checkEnvironmentValue(value: string): string | undefined {
  if (value.includes("\0")) return "must not have a NUL character";
  return value.isWellFormed() ? undefined : "must be well-formed Unicode";
}

/** Bytes of all names and values in UTF-8. */
export function countEnvironmentBytes(environment: Readonly<Record<string, unknown>>): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(environment)) {
    bytes += countUtf8Bytes(name) + (typeof value === "string" ? countUtf8Bytes(value) : 0);
  }
  return bytes;
}

export function countUtf8Bytes(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}
