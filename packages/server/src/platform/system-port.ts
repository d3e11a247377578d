import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { Readable } from "node:stream";
import type { AddressInfo } from "node:net";
import type { ControlHandler } from "../gateway/gateway.ts";
import { createRequestId } from "../http/request-id.ts";
import { PROMETHEUS_CONTENT_TYPE } from "../metrics/prometheus-text.ts";
import { NO_CREDENTIALS } from "../security/authentication/credentials.ts";

const PATHS: ReadonlySet<string> = new Set(["/health", "/ready"]);

/** Probes and metrics on a port of their own, which the cluster reaches and callers do not. */
export class SystemPort {
  readonly #server: Server;

  /** @param scrape `/metrics` of this gateway alone: whoever asks each of them adds up. */
  constructor(control: ControlHandler, scrape: () => Promise<Iterable<string>>) {
    this.#server = createServer((req, res) => {
      const [path = "", query = ""] = (req.url ?? "").split("?");
      if (req.method === "GET" && PATHS.has(path))
        control.handle(req, res, { requestId: createRequestId(), path, query, origin: "", credentials: NO_CREDENTIALS });
      else if (req.method === "GET" && path === "/metrics") {
        scrape().then(
          (pieces) => Readable.from(pieces).pipe(res.setHeader("content-type", PROMETHEUS_CONTENT_TYPE)),
          () => res.writeHead(500).end(),
        );
      } else res.writeHead(404).end();
    });
  }

  async start(host: string, port: number): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
