/** `KS_FAULTS=full` gives the fault suites the volume of test/README.md; without it they visit each fault once. */
export const IS_FULL = process.env["KS_FAULTS"] === "full";

/** A number that a variable may set, else by volume. */
export function readVolume(variable: string, { brief, full }: { brief: number; full: number }): number {
  const set = process.env[variable];
  if (set === undefined || set === "") return IS_FULL ? full : brief;
  const value = Number(set);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${variable} must be a whole number of at least 1; it is ${set}`);
  return value;
}
