import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Listens on a free port of loopback and prints it; ends with whoever started the process. */
export function listenAndTell(server: Server): void {
  server.listen(0, "127.0.0.1", () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
  process.stdin.on("end", () => process.exit(0));
  process.stdin.resume();
}
