import { systemClock } from "../../../packages/server/src/clock.ts";
import { createFunctionLogs } from "../../../packages/server/src/logs/function-logs.ts";

/** Prints numbered lines until it is killed: argv is the log folder and the first number. */
const logs = createFunctionLogs({ folder: process.argv[2]!, clock: systemClock });
let next = Number(process.argv[3]);

function printSome(): void {
  for (let i = 0; i < 200; i++) {
    const body = Buffer.from(`${next++} ${"x".repeat(next % 500)}`);
    logs.appendLines("u1", { stream: "stdout", requestId: null, replica: "p", revision: 1 }, body, Date.now(), false);
  }
  setTimeout(printSome, 2);
}
printSome();
