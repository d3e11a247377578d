import { execFile, type ExecFileOptions } from "node:child_process";
import { existsSync } from "node:fs";
import { projectFolder } from "../../support/server.ts";

/** The system's own Python, for which Debian packages `requests`. */
export const PYTHON = "/usr/bin/python3";
export const CURL = "/usr/bin/curl";

/** Why a test that needs this program is left out; false where it is there. */
export function missing(program: string, install: string): string | false {
  return existsSync(program) ? false : `${program} is not installed: ${install}`;
}

export const missingCurl = missing(CURL, "apt install curl");
export const missingRequests = missing("/usr/lib/python3/dist-packages/requests/__init__.py", "apt install python3-requests");

/** What a program prints; it runs in the project's folder. @throws with its errors where it fails */
export function runProgram(program: string, args: readonly string[], options: ExecFileOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd: projectFolder, timeout: 60_000, maxBuffer: 32 * 1024 * 1024, ...options }, (error, stdout, stderr) => {
      if (error === null) resolve(String(stdout));
      else reject(new Error(`${program} ended with ${error.code ?? error.signal}:\n${String(stderr)}${String(stdout)}`, { cause: error }));
    });
  });
}

/** Runs a CommonJS script, which finds the project's packages. */
export function runNode(script: string): Promise<string> {
  return runProgram(process.execPath, ["--input-type=commonjs", "-e", script]);
}

export function runPython(script: string): Promise<string> {
  return runProgram(PYTHON, ["-c", script]);
}

export function runShell(script: string): Promise<string> {
  return runProgram("/bin/sh", ["-c", script]);
}
