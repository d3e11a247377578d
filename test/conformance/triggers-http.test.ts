import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { openPlatform, uniquePath } from "./support/platform.ts";

const platform = await openPlatform();

const ECHO = "exports.handler = ({ method, path, params }) => ({ by: process.env.BY, method, path, params });";

function http(path: string, methods?: readonly string[]): object {
  return { type: "http", config: methods === undefined ? { path } : { path, methods } };
}

function deployAt(by: string, ...triggers: object[]): Promise<string> {
  return platform.deploy({ code: ECHO, environment: { BY: by }, triggers });
}

describe("an HTTP trigger's path", { concurrency: 4 }, () => {
  const base = uniquePath();
  before(async () => {
    await Promise.all([
      deployAt("literal", http(`${base}/a/b`), http(`${base}/sp%20ace`), http(`${base}/%D1%84`)),
      deployAt("parameter", http(`${base}/a/:id`)),
      deployAt("wildcard", http(`${base}/a/*`)),
      deployAt("two parameters", http(`${base}/:x/:y`)),
      deployAt("deep wildcard", http(`${base}/a/:id/deep/*`)),
      deployAt("a slash at the end", http(`${base}/end/`)),
    ]);
  });

  const CASES: [string, string | undefined, object?][] = [
    ["/a/b", "literal"],
    ["/%61/%62", "literal"],
    ["/a/c", "parameter", { id: "c" }],
    ["/a/b%2Fc", "parameter", { id: "b/c" }],
    ["/a/%D1%84", "parameter", { id: "ф" }],
    ["/a/B", "parameter", { id: "B" }],
    ["/a", "wildcard"],
    ["/a/", "wildcard"],
    ["/a/b/c", "wildcard"],
    ["/a/b/", "wildcard"],
    ["/a/1/deep", "deep wildcard", { id: "1" }],
    ["/a/1/deep/er/still", "deep wildcard", { id: "1" }],
    ["/z/q", "two parameters", { x: "z", y: "q" }],
    ["/sp%20ace", "literal"],
    ["/%d1%84", "literal"],
    ["/end/", "a slash at the end"],
    ["/end", undefined],
    ["/A/b", "two parameters", { x: "A", y: "b" }],
    ["/z/", undefined],
    ["/z", undefined],
    ["", undefined],
  ];
  for (const [path, by, params] of CASES) {
    test(`${path} leads to ${by ?? "nothing"}`, async () => {
      const { status, text, json } = await platform.send({ path: `${base}${path}` });
      if (by === undefined) return assert.deepEqual([status, json.code], [404, "ROUTE_NOT_FOUND"]);
      assert.deepEqual([status, json.by, json.path], [200, by, `${base}${path}`], text);
      if (params !== undefined) for (const [name, value] of Object.entries(params)) assert.equal(json.params[name], value);
    });
  }

  for (const path of ["/a/../a/b", "/a//b", "/a/./b", "/a/%2e%2e/b", "/a/%zz", "/a/%c3"]) {
    test(`${path} is refused`, async () => {
      const answer = await platform.send({ path: `${base}${path}` });
      assert.deepEqual([answer.status, answer.json.code], [400, "BAD_REQUEST"]);
    });
  }
});

describe("an HTTP trigger's methods", { concurrency: 4 }, () => {
  const base = uniquePath();
  before(async () => {
    await deployAt("reader", http(base, ["GET"]), http(`${base}/any`));
    await deployAt("writer", http(base, ["POST", "PUT"]));
  });

  test("lead to the function that names them", async () => {
    assert.equal((await platform.send({ path: base })).json.by, "reader");
    assert.equal((await platform.send({ path: base, method: "POST" })).json.by, "writer");
    assert.equal((await platform.send({ path: base, method: "PUT" })).json.by, "writer");
  });

  test("that none names get 405, Allow naming those of all functions there", async () => {
    for (const method of ["DELETE", "PATCH", "OPTIONS"]) {
      const answer = await platform.send({ path: base, method });
      assert.deepEqual([answer.status, answer.json.code], [405, "METHOD_NOT_ALLOWED"], method);
      const allowed = String(answer.headers.allow).split(/,\s*/);
      for (const name of ["GET", "HEAD", "POST", "PUT"]) assert.ok(allowed.includes(name), `${method}: ${answer.headers.allow}`);
    }
  });

  test("include HEAD where GET is", async () => {
    const answer = await platform.send({ path: base, method: "HEAD" });
    assert.deepEqual([answer.status, answer.bytes.length], [200, 0]);
    assert.ok(Number(answer.headers["content-length"]) > 0);
  });

  test("are all where none is named, OPTIONS too", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      assert.equal((await platform.send({ path: `${base}/any`, method })).json.method, method);
    }
  });
});

describe("two functions", { concurrency: 4 }, () => {
  test("cannot have the same path: 409, naming the one that holds it", async () => {
    const base = uniquePath();
    const holder = await deployAt("holder", http(`${base}/:id/x`));
    for (const path of [`${base}/:name/x`, `${base}/:id/%78`]) {
      const answer = await platform.create({ code: ECHO, triggers: [http(path)] });
      assert.deepEqual([answer.status, answer.json.code], [409, "ROUTE_CONFLICT"]);
      assert.match(JSON.stringify(answer.json), new RegExp(holder));
      assert.equal((await platform.get(`/functions/${answer.name}`)).status, 404);
    }
  });

  test("may share a path with different methods, and not with the same", async () => {
    const base = uniquePath();
    await deployAt("reader", http(base, ["GET"]));
    assert.equal((await platform.create({ code: ECHO, triggers: [http(base, ["POST", "GET"])] })).status, 409);
    assert.equal((await platform.create({ code: ECHO, triggers: [http(base)] })).status, 409);
    assert.equal((await platform.create({ code: ECHO, triggers: [http(base, ["POST"])] })).status, 201);
  });

  test("cannot come to the same path by an update either, which leaves both as they were", async () => {
    const base = uniquePath();
    await deployAt("holder", http(`${base}/1`));
    const other = await deployAt("other", http(`${base}/2`));
    const put = await platform.put(other, { code: ECHO, environment: { BY: "other" }, triggers: [http(`${base}/1`)] });
    assert.deepEqual([put.status, put.json.code], [409, "ROUTE_CONFLICT"]);
    assert.equal((await platform.send({ path: `${base}/1` })).json.by, "holder");
    assert.equal((await platform.send({ path: `${base}/2` })).json.by, "other");
  });

  test("created at once for one path: one gets it", async () => {
    const path = uniquePath();
    const answers = await Promise.all(Array.from({ length: 6 }, () => platform.create({ code: ECHO, triggers: [http(path)] })));
    assert.deepEqual(
      answers.map(({ status }) => status).sort((a, b) => a - b),
      [201, 409, 409, 409, 409, 409],
    );
  });

  test("created at once with one name: one gets it", async () => {
    const { name } = await platform.create({ code: ECHO });
    await platform.delete(name);
    const answers = await Promise.all(Array.from({ length: 6 }, () => platform.create({ code: ECHO, name })));
    assert.deepEqual(
      answers.map(({ status }) => status).sort((a, b) => a - b),
      [201, 409, 409, 409, 409, 409],
    );
  });
});

describe("a trigger's path over time", { concurrency: 4 }, () => {
  test("moves with an update, and is free for others then", async () => {
    const base = uniquePath();
    const name = await deployAt("mover", http(`${base}/old`));
    await platform.put(name, { code: ECHO, environment: { BY: "mover" }, triggers: [http(`${base}/new`)] });
    await platform.settled(name);
    assert.equal((await platform.send({ path: `${base}/new` })).json.by, "mover");
    assert.equal((await platform.send({ path: `${base}/old` })).status, 404);
    await deployAt("settler", http(`${base}/old`));
    assert.equal((await platform.send({ path: `${base}/old` })).json.by, "settler");
  });

  test("of old and new both are kept while an update with new code fails", async () => {
    const base = uniquePath();
    const name = await deployAt("good", http(`${base}/old`));
    await platform.put(name, { code: "exports.handler = (=> 1", triggers: [http(`${base}/new`)] });
    assert.equal((await platform.settled(name)).state, "failed");
    assert.equal((await platform.send({ path: `${base}/old` })).json.by, "good");
    for (const path of [`${base}/old`, `${base}/new`]) {
      assert.equal((await platform.create({ code: ECHO, triggers: [http(path)] })).status, 409, path);
    }
  });

  test("is free when its function is deleted", async () => {
    const path = uniquePath();
    await platform.delete(await deployAt("first", http(path)));
    await deployAt("second", http(path));
    assert.equal((await platform.send({ path })).json.by, "second");
  });

  test("waits for the first deploy", async () => {
    const path = uniquePath();
    const code = `const end = Date.now() + 300; while (Date.now() < end); ${ECHO}`;
    await platform.create({ code, environment: { BY: "waited" }, triggers: [http(path)] });
    assert.equal((await platform.send({ path })).json.by, "waited");
  });
});

describe("an error behind a trigger", () => {
  test("has message and code, and never type, stack or code of the function", async () => {
    const path = uniquePath();
    const name = await platform.deploy({
      code: "exports.handler = () => { throw new TypeError('secret place'); };",
      triggers: [http(path)],
    });
    for (const answer of [await platform.send({ path }), await platform.call(name)]) {
      assert.deepEqual(
        [answer.status, answer.json.error, answer.json.code, answer.json.details],
        [500, "Internal server error: secret place", "FUNCTION_ERROR", undefined],
      );
      assert.doesNotMatch(answer.text, /index\.js|TypeError/);
    }
    const invoked = await platform.invoke(name);
    assert.equal(invoked.json.details.type, "TypeError");
    assert.match(invoked.json.details.stack, /index\.js:1/);
  });
});
