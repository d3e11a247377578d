import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Pool } from "undici";
import { listenAndTell } from "./listen.ts";

const pool = new Pool(`http://127.0.0.1:${Number(process.argv[2])}`);

/** The usual gateway in TypeScript: node:http in front, undici behind, by `dispatch`, the fastest way undici has. */
function forward(req: IncomingMessage, res: ServerResponse): void {
  pool.dispatch(
    {
      method: req.method ?? "GET",
      path: req.url ?? "/",
      headers: { "content-type": req.headers["content-type"] ?? "", "content-length": req.headers["content-length"] ?? "0" },
      body: req,
    },
    {
      onRequestStart: () => undefined,
      onResponseStart(_controller, status, headers) {
        res.writeHead(status, { "Content-Type": headers["content-type"] as string, "Content-Length": headers["content-length"] as string });
      },
      onResponseData(_controller, chunk) {
        res.write(chunk);
      },
      onResponseEnd() {
        res.end();
      },
      onResponseError() {
        if (res.headersSent) res.destroy();
        else res.writeHead(502).end();
      },
    },
  );
}

listenAndTell(createServer(forward));
