import type { Clock } from "../../clock.ts";
import type { FrameReplica } from "../frame-replica.ts";
import type { Replica } from "../port.ts";
import type { PrintedLines } from "../printed-lines.ts";
import { OutputValve } from "./output-valve.ts";
import type { SandboxedProcess } from "./sandbox/port.ts";

/** Where what functions print goes. */
export interface OutputSink {
  lines(replica: Replica, lines: PrintedLines): void;
  /** Bytes of descriptor 1 or 2 as they came, and the call that wrote them, where it is known. */
  raw(replica: Replica, stream: "stdout" | "stderr", chunk: Buffer, requestId: string | undefined): void;
  /** So many of them were lost, as they came too fast. */
  rawDropped(replica: Replica, stream: "stdout" | "stderr", bytes: number): void;
  /** Nothing more comes of this replica. */
  ended(replica: Replica): void;
}

/** Passes on what bypasses the shim: the bytes of descriptors 1 and 2, each with the request whose it is where that is certain. */
export function listenToDescriptors(
  process: Pick<SandboxedProcess, "stdout" | "stderr">,
  replica: FrameReplica,
  output: OutputSink,
  clock: Clock,
): void {
  let postponed = 0;
  for (const name of ["stdout", "stderr"] as const) {
    new OutputValve(process[name], clock, {
      chunk: (chunk) => {
        if (name === "stderr") replica.noteStderr(chunk.toString("utf8"));
        const write = (): void => output.raw(replica, name, chunk, replica.findPrinter());
        // Of the first call, if READY is read in the same turn, and else of the code while it loaded.
        if (!replica.loading && postponed === 0) return write();
        postponed++;
        setImmediate(() => {
          postponed--;
          write();
        });
      },
      dropped: (bytes) => output.rawDropped(replica, name, bytes),
    });
  }
}
