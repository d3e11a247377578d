import { text } from "node:stream/consumers";
import { findProgram } from "./find-program.ts";
import type { Sandbox } from "./port.ts";

/** Runs a program that does nothing, both with a network and without; tells what stands in the way. */
export async function probe(sandbox: Sandbox): Promise<string | undefined> {
  const problems = await Promise.all((["none", "outbound"] as const).map((network) => tryNetwork(sandbox, network)));
  return problems.find((problem) => problem !== undefined);
}

async function tryNetwork(sandbox: Sandbox, network: "none" | "outbound"): Promise<string | undefined> {
  try {
    const process = await sandbox.spawn({
      id: `probe-${network}`,
      command: [findProgram("true") ?? "/usr/bin/true"],
      environment: {},
      memoryMiB: 64,
      network,
      binds: [],
    });
    process.stdout.resume();
    const [stderr, exit] = await Promise.all([text(process.stderr), process.exited]);
    if (exit.code === 0) return undefined;
    return stderr.trim() || `a probe ended with ${exit.code ?? exit.signal}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
