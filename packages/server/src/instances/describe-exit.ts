import { KsError, type Language } from "@kube-serverless/contracts";
import type { ReplicaExitReason } from "./port.ts";

/** V8 aborts at its own heap limit, which is below that of the process. */
const HEAP_ABORT = "heap out of memory";

/** How a process ended. */
export interface ProcessExit {
  code: number | null;
  signal: string | null;
  /** Set when the memory limit ended it; the peak where it is known. */
  outOfMemory?: { limitMiB: number; peakMiB: number | undefined };
  /** Most memory it ever used, where that is known. */
  peakMiB?: number;
}

/** Why a process that nobody ended is gone, in words that say what to do. */
export function describeExit(
  exit: ProcessExit,
  language: Language,
  memoryMiB: number,
  lastStderr: string,
): { reason: ReplicaExitReason; error: KsError } {
  if (exit.outOfMemory !== undefined) return outOfMemory(exit.outOfMemory.limitMiB, exit.outOfMemory.peakMiB);
  if (language === "nodejs" && lastStderr.includes(HEAP_ABORT)) return outOfMemory(memoryMiB, exit.peakMiB);
  const how = exit.signal === null ? `exited with code ${exit.code}` : `was ended by ${exit.signal}`;
  const lastLine = lastStderr.trim().slice(-2000);
  return {
    reason: "crashed",
    error: new KsError("FUNCTION_CRASHED", {
      message: `The function's process ${how}`,
      details: { exitCode: exit.code, signal: exit.signal, ...(lastLine === "" ? {} : { stderr: lastLine }) },
    }),
  };
}

function outOfMemory(limitMiB: number, peakMiB: number | undefined): { reason: ReplicaExitReason; error: KsError } {
  const peak = peakMiB === undefined ? undefined : Math.round(peakMiB);
  const message = `The function ran out of memory: its limit is ${limitMiB} MiB${peak === undefined ? "" : `, its peak was ${peak} MiB`}. Give it more with "memory"`;
  return {
    reason: "out-of-memory",
    error: new KsError("FUNCTION_OUT_OF_MEMORY", { message, details: { limitMiB, ...(peak === undefined ? {} : { peakMiB: peak }) } }),
  };
}
