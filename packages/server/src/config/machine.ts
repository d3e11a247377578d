import { totalmem } from "node:os";

/** Memory of the machine, or of the cgroup this process is limited by, in MiB. */
export function readMachineMemoryMiB(): number {
  const constrainedBytes = process.constrainedMemory();
  // Without a limit the cgroup reports 0 or a number beyond any machine.
  const bytes = constrainedBytes > 0 ? Math.min(constrainedBytes, totalmem()) : totalmem();
  return Math.floor(bytes / 1024 / 1024);
}
