import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type RawAnswer, RawClient, type RawHeaders } from "./support/raw-request.ts";
import { ADMIN, SecuredServer } from "./support/secured.ts";

const MARK = "k5q7z";
/** Would run, load or break out wherever it is written unescaped; each has the mark in it. */
const HOSTILE = [
  `<script>${MARK}</script>`,
  `"><img src=x onerror=${MARK}>`,
  `' onmouseover='${MARK}`,
  `</code></pre><h1>${MARK}`,
  `&lt;${MARK}&gt;`,
  `javascript:${MARK}`,
  `x.example/$(touch ${MARK})`,
  `x.example';touch ${MARK};'`,
  "`" + MARK + "`",
];

describe("pages and errors, where the request is hostile", () => {
  let secured: SecuredServer;
  let raw: RawClient;
  before(async () => {
    // As behind a proxy that passes on what its callers say.
    secured = await SecuredServer.start({ flags: ["--trusted-proxies", "127.0.0.1"] });
    raw = new RawClient(secured.server.port);
  });
  after(async () => {
    raw.close();
    await secured.server.stop();
  });

  const get = (path: string, headers: RawHeaders = {}, method = "GET"): Promise<RawAnswer> =>
    raw.send({ method, path, headers: { host: "localhost", ...headers } });

  test("the reference has its headers, by GET and HEAD", async () => {
    for (const method of ["GET", "HEAD"]) {
      const { status, headers } = await get("/docs", {}, method);
      assert.equal(status, 200);
      assert.equal(headers["content-type"], "text/html; charset=utf-8");
      assert.match(
        String(headers["content-security-policy"]),
        /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
      );
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["referrer-policy"], "no-referrer");
      assert.equal(headers["cache-control"], "no-store");
      assert.equal(headers["access-control-allow-origin"], undefined);
      assert.equal(headers["set-cookie"], undefined);
    }
    assert.match(
      (await get("/docs", { host: "functions.example:8443" })).text,
      /curl http:\/\/functions\.example:8443\/api\/v1\/functions/,
    );
  });

  test("the reference shows nothing of what a request brought but a plain host", async () => {
    const plain = (await get("/docs")).text;
    for (const text of HOSTILE) {
      for (const headers of [
        { "x-forwarded-host": text },
        { "x-forwarded-proto": text },
        { "x-forwarded-host": "x.example", "x-forwarded-proto": `https://${text}` },
        { "user-agent": text, referer: text, cookie: text, "x-request-id": text, "accept-language": text },
      ] as RawHeaders[]) {
        const { status, text: page } = await get(`/docs?q=${encodeURIComponent(text)}`, headers);
        assert.equal(status, 200, text);
        assert.equal(page.includes(MARK), false, `${text} in ${JSON.stringify(headers)}`);
        if (headers["x-forwarded-host"] === text) assert.equal(page.includes("curl http://localhost:8080/api/v1/functions"), true);
      }
    }
    assert.equal(plain.includes("<script"), false);
  });

  test("whatever is asked for, an answer that repeats it is JSON that no browser takes for a page", async () => {
    for (const text of HOSTILE) {
      const name = encodeURIComponent(text);
      for (const path of [
        `/${name}`,
        `/docs/${name}`,
        `/fn/${name}`,
        `/api/v1/functions/${name}`,
        `/api/v1/functions/${name}/logs?tail=${name}`,
        `/api/v1/functions?limit=${name}`,
        `/api/v1/queues/${name}`,
        `/api/v1/keys/${name}`,
        `/api/${name}`,
        `/api/v1/functions?cursor=${name}&${name}=1`,
      ]) {
        for (const headers of [
          {},
          { authorization: `Bearer ${ADMIN}` },
          { host: text },
          { authorization: text },
          { origin: text },
        ] as RawHeaders[]) {
          const answer = await get(path, headers);
          if (answer.status === 200) continue;
          assert.equal(answer.headers["content-type"], "application/json; charset=utf-8", path);
          assert.equal(answer.headers["x-content-type-options"], "nosniff", path);
          assert.equal(typeof JSON.parse(answer.text).error, "string");
        }
      }
    }
  });
});
