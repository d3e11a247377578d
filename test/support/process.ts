import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";

/** A port of loopback that nothing listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** With setpriv the child ends with this process even when this process is killed. */
export function spawnTied(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  if (!existsSync("/usr/bin/setpriv")) return spawn(command, args, options);
  return spawn("/usr/bin/setpriv", ["--pdeathsig", "KILL", "--", command, ...args], options);
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Sends the signal and waits for the end; a stopped process is not waited for in vain. */
export async function endProcess(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || hasEnded(child)) return;
  const exited = once(child, "exit");
  child.kill(signal);
  child.kill("SIGCONT");
  await exited;
}
