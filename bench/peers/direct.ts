import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { listenAndTell } from "./listen.ts";

type Handler = (event: { body: unknown }) => Promise<{ statusCode: number; body: unknown }>;

const { handler } = createRequire(import.meta.url)("./handler.cjs") as { handler: Handler };

/** The bare server that everything is compared with: node:http, the handler, and JSON parsed and written. */
function answer(req: IncomingMessage, res: ServerResponse): void {
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => {
    const text = (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString("utf8");
    handler({ body: JSON.parse(text) }).then(
      (result) => {
        const body = JSON.stringify(result);
        res.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(body) });
        res.end(body);
      },
      () => res.writeHead(500).end(),
    );
  });
}

listenAndTell(createServer(answer));
