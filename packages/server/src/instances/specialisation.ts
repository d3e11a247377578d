import type { RevisionRef } from "./port.ts";

/** What SPECIALISE tells beside the revision. */
export interface Specialisation {
  code: Buffer;
  module: "commonjs" | "esm" | undefined;
  concurrency: number;
  runtimeVersion: string;
  fromPool: boolean;
  startMs: number;
  /** A compiled program that the replica has no folder to find it in: a Go function's in a pod. */
  artifact?: Buffer;
  /** How long it was compiled for; absent where it was found compiled. */
  compileMs?: number;
}

/** The SPECIALISE frame of runtimes/PROTOCOL.md. */
export function encodeSpecialise(
  { name, uid, revision, spec }: RevisionRef,
  specialisation: Specialisation,
): { meta: string; body: Buffer } {
  const environment = Buffer.from(JSON.stringify(spec.environment));
  const body = Buffer.allocUnsafe(4 + environment.length + specialisation.code.length);
  body.writeUInt32BE(environment.length);
  environment.copy(body, 4);
  specialisation.code.copy(body, 4 + environment.length);
  const meta = JSON.stringify({
    function: name,
    uid,
    revision,
    handler: spec.handler,
    module: specialisation.module,
    concurrency: specialisation.concurrency,
    timeoutMs: spec.timeout * 1000,
    memoryMiB: spec.memory,
  });
  return { meta, body };
}
