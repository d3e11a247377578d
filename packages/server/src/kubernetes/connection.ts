import { readFileSync } from "node:fs";
import type { SecureContextOptions } from "node:tls";
import type { Clock } from "../clock.ts";

/** Where the API server is, and how one proves oneself to it. */
export interface ClusterConnection {
  /** `https://10.96.0.1:443` */
  readonly url: string;
  readonly tls: SecureContextOptions & { servername?: string; rejectUnauthorized?: boolean };
  /** Headers that authenticate one request; asked for each, as tokens are renewed. */
  headers(): Promise<Record<string, string>> | Record<string, string>;
}

const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The kubelet renews the token long before it ends; it is read anew so often. */
const TOKEN_AGE_MS = 60_000;

export interface PodConnectionOptions {
  host: string;
  port: number;
  clock: Clock;
  /** @default /var/run/secrets/kubernetes.io/serviceaccount */
  folder?: string;
}

/**
 * The connection of a pod by its service account. Not by the official client: loading that takes 90 MB of memory, and here
 * it would only read these two files.
 */
export function connectFromPod({ host, port, clock, folder = SERVICE_ACCOUNT_FOLDER }: PodConnectionOptions): ClusterConnection {
  let token = "";
  let readAtMs = Number.NEGATIVE_INFINITY;
  return {
    url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    tls: { ca: readFileSync(`${folder}/ca.crt`) },
    headers() {
      if (clock.monotonicMs() - readAtMs > TOKEN_AGE_MS) {
        token = readFileSync(`${folder}/token`, "utf8").trim();
        readAtMs = clock.monotonicMs();
      }
      return { authorization: `Bearer ${token}` };
    },
  };
}
