import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform } from "./support/platform.ts";
import { Bystander } from "./support/unharmed.ts";

const platform = await openPlatform();
const bystander = new Bystander(platform);
before(() => bystander.deploy());

describe("a function with bad habits", { concurrency: 4 }, () => {
  const HARMLESS: Record<string, { runtime: string; code: string; memory?: number }> = {
    "leaves timers behind": {
      runtime: "nodejs18",
      code: "let ticks = 0; exports.handler = () => { setInterval(() => ticks++, 1); setTimeout(() => {}, 1e9); return 'fine'; };",
    },
    "leaves a thread behind": {
      runtime: "python39",
      code: "import threading, time\ndef handler(event):\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    return 'fine'\n",
    },
    "leaves a goroutine behind": {
      runtime: "go119",
      code: 'package f\n\nfunc Handler(e map[string]any) (any, error) {\n\tgo func() { select {} }()\n\treturn "fine", nil\n}\n',
    },
    "closes its standard streams": {
      runtime: "nodejs18",
      code: "const fs = require('node:fs'); exports.handler = () => { for (const fd of [0, 1, 2]) { try { fs.closeSync(fd); } catch {} } console.log('x'); process.stdout.write('y'); return 'fine'; };",
    },
    "destroys its standard streams": {
      runtime: "nodejs18",
      code: "exports.handler = () => { process.stdout.destroy(); process.stderr.end(); console.log('x'); console.error('y'); return 'fine'; };",
    },
    "closes its standard streams in Python": {
      runtime: "python39",
      code: "import os, sys\ndef handler(event):\n    for stream in (sys.stdin, sys.stdout, sys.stderr):\n        try: stream.close()\n        except Exception: pass\n    for fd in (0, 1, 2):\n        try: os.close(fd)\n        except OSError: pass\n    try: print('x')\n    except Exception: pass\n    return 'fine'\n",
    },
    "closes its standard streams in Go": {
      runtime: "go119",
      code: 'package f\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc Handler(e map[string]any) (any, error) {\n\tos.Stdin.Close()\n\tos.Stdout.Close()\n\tos.Stderr.Close()\n\tfmt.Println("x")\n\treturn "fine", nil\n}\n',
    },
    "answers twice by its callback": {
      runtime: "nodejs18",
      code: "exports.handler = (event, context, callback) => { callback(null, 'fine'); callback(null, 'again'); callback(new Error('late')); };",
    },
    "answers by promise and by callback": {
      runtime: "nodejs18",
      code: "exports.handler = async (event, context, callback) => { setTimeout(callback, 20, new Error('late')); return 'fine'; };",
    },
    "prints a line of 10 MB": {
      runtime: "nodejs18",
      code: "exports.handler = () => { console.log('x'.repeat(10 << 20)); return 'fine'; };",
    },
    "prints 100,000 lines": {
      runtime: "nodejs18",
      code: "exports.handler = () => { for (let i = 0; i < 1e5; i++) console.log(i); return 'fine'; };",
    },
    "prints binary": {
      runtime: "python39",
      code: "import os, sys\ndef handler(event):\n    sys.stdout.buffer.write(bytes(range(256)) * 1000)\n    os.write(2, bytes(range(256)))\n    return 'fine'\n",
    },
    "patches what it can reach": {
      runtime: "nodejs18",
      code: `JSON.stringify = () => { throw new Error('no JSON'); }; Object.prototype.toJSON = () => 'polluted'; Array.prototype.push = () => 0;
        Promise.prototype.then = undefined; Buffer.from = () => null; process.exit = () => {}; process.nextTick = undefined; global.setTimeout = undefined;
        Object.prototype.statusCode = 500; Object.prototype.headers = { evil: '1' };
        exports.handler = () => 'fine';`,
    },
    "has an error class of its own making": {
      runtime: "python39",
      code: "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError('no')\ndef handler(event):\n    try:\n        raise Odd()\n    except Odd:\n        return 'fine'\n",
    },
  };
  for (const [what, wish] of Object.entries(HARMLESS)) {
    test(`(${what}) is answered as if it had none, three times`, async () => {
      const name = await platform.deploy({ ...wish, timeout: 20 });
      for (let i = 0; i < 3; i++) {
        const answer = await platform.invoke(name);
        assert.deepEqual([answer.status, answer.json.body], [200, "fine"], answer.text.slice(0, 1000));
      }
      await bystander.isUnharmed();
    });
  }

  test("(an error that cannot tell its message) is still told", async () => {
    const name = await platform.deploy({
      runtime: "python39",
      code: "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError('no')\ndef handler(event):\n    raise Odd()\n",
    });
    const answer = await platform.invoke(name);
    assert.deepEqual([answer.status, answer.json.code], [500, "FUNCTION_ERROR"]);
    assert.match(answer.text, /Odd/);
  });

  test("(writing to descriptors that are not its own) harms its own replica alone", async () => {
    const code = `const fs = require('node:fs'); exports.handler = ({ body }) => {
      if (body.write) for (let fd = 3; fd < 64; fd++) { try { fs.writeSync(fd, Buffer.alloc(100, 0xee)); } catch {} }
      return 'fine';
    };`;
    const name = await platform.deploy({ code });
    assert.equal((await platform.invoke(name, {})).status, 200);
    const answer = await platform.invoke(name, { write: true });
    assert.ok(answer.status === 200 || answer.json.code === "FUNCTION_CRASHED", answer.text);
    await waitFor("a new replica to serve", async () => (await platform.invoke(name, {})).status === 200);
    await bystander.isUnharmed();
  });

  test("(an uncaught error after the answer) spoils no later call for good", async () => {
    const name = await platform.deploy({
      code: "exports.handler = () => { setTimeout(() => { throw new Error('late'); }, 50); return 'fine'; };",
    });
    assert.equal((await platform.invoke(name)).json.body, "fine");
    await new Promise((resolve) => setTimeout(resolve, 200));
    await waitFor("the next call to be served", async () => (await platform.invoke(name)).status === 200);
  });

  test("(100 MB) is refused with the limit, where it is returned and where it is collected", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => Buffer.alloc(100 << 20);", memory: 512 });
    for (const answer of [await platform.invoke(name), await platform.call(name)]) {
      assert.deepEqual([answer.status, answer.json.code], [502, "RESPONSE_TOO_LARGE"]);
      assert.match(answer.json.error, /6291456|6 MiB/);
    }
    await bystander.isUnharmed();
  });
});

const key = platform.client.authorizationLines;

/** All that comes until the other side closes. @throws where it resets */
async function readUntilClosed(head: string): Promise<string> {
  const connection = await platform.connect();
  connection.write(`${head}${key}\r\n`);
  assert.equal(await connection.closes(), true);
  connection.destroy();
  if (connection.error !== undefined) throw connection.error;
  return connection.unread;
}

describe("a stream", { concurrency: 4 }, () => {
  const FAILING = {
    nodejs18:
      "exports.handler = async function* () { yield 'begun'; await new Promise((r) => setTimeout(r, 100)); throw new Error('broken'); };",
    python39: "import time\ndef handler(event):\n    yield 'begun'\n    time.sleep(0.1)\n    raise Exception('broken')\n",
    go119: `package f

import (
	"errors"
	"io"
	"strings"
)

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func Handler(e map[string]any) (any, error) {
	return io.MultiReader(strings.NewReader("begun"), failing{}), nil
}
`,
  };
  for (const [runtime, code] of Object.entries(FAILING)) {
    test(`of ${runtime} that fails half-way is cut, never ended cleanly, and counted`, async () => {
      const name = await platform.deploy({ runtime, code });
      const received = await readUntilClosed(`GET /fn/${name} HTTP/1.1\r\nHost: ${platform.host}\r\n`);
      assert.match(received, /^HTTP\/1\.1 200/);
      assert.match(received, /begun/);
      assert.doesNotMatch(received, /\r\n0\r\n\r\n$/);
      const invoked = await platform.invoke(name);
      assert.deepEqual([invoked.status, invoked.json.code], [500, "FUNCTION_ERROR"]);
      assert.match(invoked.json.error, /broken/);
      await waitFor(
        "both failures to be counted",
        async () => (await platform.get(`/functions/${name}/metrics`)).json.errors?.FUNCTION_ERROR === 2,
      );
      await bystander.isUnharmed();
    });
  }

  test("that fails half-way is cut by a reset in HTTP/1.0, where the end of the connection would be its end", async () => {
    const name = await platform.deploy({ code: FAILING.nodejs18 });
    await assert.rejects(readUntilClosed(`GET /fn/${name} HTTP/1.0\r\n`), /ECONNRESET/);
  });

  test("that pauses longer than the timeout is cut, and one that never pauses so long is not", async () => {
    const code = `exports.handler = async function* (event) {
      for (let i = 0; i < 4; i++) { yield 'piece'; await new Promise((resolve) => setTimeout(resolve, Number(event.query.ms))); }
    };`;
    const name = await platform.deploy({ code, timeout: 1 });
    const steady = await platform.call(name, "/?ms=500");
    assert.equal(steady.text, "piece".repeat(4));
    await assert.rejects(platform.call(name, "/?ms=3000"), /aborted|ECONNRESET|terminated|hang up/);
  });

  test("whose reader is slow or goes away is stopped, and the function serves on", async () => {
    const code = `let sent = 0; exports.handler = ({ query }) => query.stream === undefined ? sent
      : (async function* () { try { for (;;) { sent += 65536; yield Buffer.alloc(65536); } } finally { sent = -1; } })();`;
    const name = await platform.deploy({ code, maxReplicas: 1 });
    const { request, response } = await platform.client.open({ path: `/fn/${name}?stream` });
    response.pause();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const sent = (await platform.call(name)).json as number;
    assert.ok(sent < 64 << 20, `${sent} bytes were made for a reader that reads nothing`);
    request.destroy();
    await waitFor("the stream to be ended", async () => (await platform.call(name)).json === -1);
    await bystander.isUnharmed();
  });
});
