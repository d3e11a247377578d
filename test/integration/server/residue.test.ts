import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startServer, type TestServer } from "../../support/server.ts";
import { GOS } from "../runtimes/gos.ts";
import { PYTHONS } from "../runtimes/pythons.ts";
import { whyNot } from "../sandbox/support.ts";
import { Client } from "./support/client.ts";

/** Leaves something wherever it may write, and tells what it found there. Each version differs by its comment. */
const LANGUAGES: Record<string, { runtime: string; skip: string | undefined; code: (version: number) => string }> = {
  "Node.js": {
    runtime: "nodejs18",
    skip: undefined,
    code: (version) => `// ${version}
const fs = require("node:fs");
exports.handler = () => {
  const found = ["/tmp", "/dev/shm"].flatMap((folder) => fs.readdirSync(folder).map((name) => folder + "/" + name));
  for (const folder of ["/tmp", "/dev/shm"]) fs.writeFileSync(folder + "/left-${version}", "secret");
  return { version: ${version}, found };
};`,
  },
  Python: {
    runtime: "python39",
    skip: PYTHONS[0]?.missing,
    code: (version) => `# ${version}
import os
def handler(event):
    found = [folder + "/" + name for folder in ("/tmp", "/dev/shm") for name in os.listdir(folder)]
    for folder in ("/tmp", "/dev/shm"):
        with open(folder + "/left-${version}", "w") as file: file.write("secret")
    return {"version": ${version}, "found": found}
`,
  },
  Go: {
    runtime: "go119",
    skip: GOS[0]?.missing,
    code: (version) => `// ${version}
package main

import "os"

func Handler(e any) (any, error) {
	found := []string{}
	for _, folder := range []string{"/tmp", "/dev/shm"} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			found = append(found, folder+"/"+entry.Name())
		}
		if err := os.WriteFile(folder+"/left-${version}", []byte("secret"), 0o666); err != nil {
			return nil, err
		}
	}
	return map[string]any{"version": ${version}, "found": found}, nil
}
`,
  },
};

describe("what a function leaves in its files", { skip: whyNot("bwrap", "python3") }, () => {
  let server: TestServer;
  let client: Client;
  before(async () => {
    server = await startServer({ flags: ["--pool-size", "0"] });
    client = new Client(server);
  });
  after(async () => {
    assert.equal((await server.stop()).code, 0);
  });

  for (const [language, { runtime, skip, code }] of Object.entries(LANGUAGES)) {
    test(`in ${language} is there for the same replica, and neither for its next version nor for others`, {
      skip: skip ?? false,
    }, async () => {
      const name = `leaves-in-${runtime}`;
      await client.deploy({ name, runtime, code: code(1), maxReplicas: 1 });
      const own = ["/tmp/left-1", "/dev/shm/left-1"];
      assert.deepEqual((await client.invoke(name)).json.body, { version: 1, found: [] });
      assert.deepEqual((await client.invoke(name)).json.body, { version: 1, found: own });
      await client.update({ name, runtime, code: code(2), maxReplicas: 1 });
      assert.deepEqual((await client.invoke(name)).json.body, { version: 2, found: [] });
      await client.deploy({ name: `${name}-beside`, runtime, code: code(3) });
      assert.deepEqual((await client.invoke(`${name}-beside`)).json.body, { version: 3, found: [] });
    });
  }
});
