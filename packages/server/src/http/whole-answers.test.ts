import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, test } from "node:test";
import { awaitsContinue } from "./read-body.ts";
import { takesBuiltHeads, WholeAnswers } from "./whole-answers.ts";

const KEEP_ALIVE_MS = 7000;
const HEADERS = ["Content-Type", "text/plain", "X-A", "ä", "Set-Cookie", "a=1", "Set-Cookie", "b=2"];
const BODY = Buffer.from("grüß\xff\n");

type Send = (res: ServerResponse) => void;

/** What a connection brings for these bytes, until the server closes it or it stays silent after so many answers. */
async function exchange(send: Send, request: string, answers: number): Promise<string> {
  const handle = (_req: IncomingMessage, res: ServerResponse): void => send(res);
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, handle);
  server.on("checkContinue", (req: IncomingMessage, res: ServerResponse) => {
    awaitsContinue.set(req, () => res.writeContinue());
    send(res);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1").setEncoding("latin1");
  let received = "";
  const ended = once(socket, "close");
  const enough = new Promise<void>((resolve) => {
    socket.on("data", (text: string) => {
      received += text;
      if (received.split("HTTP/1.1 ").length - 1 >= answers && (answers > 1 || !request.includes("close"))) setImmediate(resolve);
    });
  });
  socket.write(request);
  await Promise.race([ended, enough]);
  socket.destroy();
  server.close();
  server.closeAllConnections();
  return received;
}

/** A message's first line, its headers in alphabetical order, and its body; the date is another one each second. */
function canonical(text: string): string {
  return text
    .split(/(?=HTTP\/1\.1 )/)
    .map((message) => {
      const [head = "", ...body] = message.split("\r\n\r\n");
      const [first, ...lines] = head.split("\r\n");
      const dateless = lines.map((line) => (/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/.test(line) ? "Date: …" : line));
      return [first, ...dateless.toSorted(), "", ...body].join("\r\n");
    })
    .join("");
}

/** The answer as Node.js writes it by itself. */
function sendByNode(res: ServerResponse, status: number, body: Buffer | undefined): void {
  res.writeHead(status, [...HEADERS, ...(body === undefined ? [] : ["Content-Length", String(body.length)])]);
  if (body === undefined) res.end();
  else res.end(body);
}

describe("WholeAnswers", () => {
  test("this Node.js takes heads that were built before", () => {
    assert.equal(takesBuiltHeads(), true);
  });

  const cases: { what: string; request: string; answers?: number; status?: number; body?: Buffer | undefined }[] = [
    { what: "a kept connection", request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" },
    { what: "two requests in one piece", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2), answers: 2 },
    { what: "a connection that its caller closes", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" },
    { what: "HTTP/1.0", request: "GET / HTTP/1.0\r\nHost: a\r\nX-Note: the server will close\r\n\r\n" },
    { what: "HTTP/1.0 that is kept", request: "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" },
    { what: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { what: "a status of the function's own", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", status: 299 },
    { what: "an empty body", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", body: Buffer.alloc(0) },
    { what: "a large body", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", body: Buffer.alloc(100_000, "é") },
    { what: "a status without a body", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", status: 204, body: undefined },
    {
      what: "a caller that was not told to go on",
      request: "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nX-Note: close\r\n\r\n",
    },
  ];
  for (const { what, request, answers = 1, status = 200, ...rest } of cases) {
    test(`answers as Node.js does: ${what}`, async () => {
      const body = "body" in rest ? rest.body : BODY;
      const whole = new WholeAnswers(KEEP_ALIVE_MS);
      const ours = await exchange((res) => whole.send(res, { status, headers: HEADERS, body }), request, answers);
      const theirs = await exchange((res) => sendByNode(res, status, body), request, answers);
      assert.match(ours, /^HTTP\/1\.1 /);
      assert.equal(canonical(ours), canonical(theirs));
    });
  }

  test("while draining, each answer says what Node.js knows of its connection", async () => {
    const whole = new WholeAnswers(60_000);
    whole.drain();
    const answer = await exchange(
      (res) => whole.send(res, { status: 200, headers: HEADERS, body: BODY }),
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
      1,
    );
    assert.match(answer, /Keep-Alive: timeout=7\r\n/);
  });
});
