"use strict";

// What a platform without waiting replicas starts for a first call: the shortest program that answers it.
const { createServer } = require("node:http");
const { handler } = require("./handler.cjs");

const server = createServer((req, res) => {
  let text = "";
  req.setEncoding("utf8");
  req.on("data", (chunk) => {
    text += chunk;
  });
  req.on("end", async () => {
    const body = JSON.stringify(await handler({ body: JSON.parse(text) }));
    res.writeHead(200, { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(body) });
    res.end(body);
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`port ${server.address().port}\n`));
