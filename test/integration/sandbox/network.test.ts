import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { isAlive, listGroup } from "../../../packages/server/src/instances/local/sandbox/process-tree.ts";
import { type OpenedSandbox, openSandbox, PYTHON, python, spec, waitUntil, whyNot } from "./support.ts";

const COUNT_ROUTES = "def count(): return sum(line.split()[1] == '00000000' for line in open('/proc/net/route'))";
/** Prints how many ways out there are, whenever that changes. */
const WATCH_ROUTES = `${COUNT_ROUTES}
import time
last = None
while True:
  now = count()
  if now != last: print(now, flush=True)
  last = now
  time.sleep(0.002)`;
const NAMES = { pasta: ["pasta", "passt"], slirp4netns: ["slirp4netns"] } as const;

type HelperName = keyof typeof NAMES;

/** The processes of each group that the sandbox has noted: the namespace's holder, and the helper with its guard. */
function listGroups(folder: string): number[][] {
  const noted = readdirSync(join(folder, "owners")).flatMap((owner) => readdirSync(join(folder, "owners", owner)));
  return noted.filter((name) => name.startsWith("group-")).map((name) => listGroup(Number(name.split("-")[1])));
}

function isHelper(helper: HelperName, pid: number): boolean {
  const name = readFileSync(`/proc/${pid}/comm`, "utf8");
  return NAMES[helper].some((known) => name.startsWith(known));
}

function findHelper(helper: HelperName, folder: string): number | undefined {
  return listGroups(folder)
    .flat()
    .find((pid) => isHelper(helper, pid));
}

function findHolder(helper: HelperName, folder: string): number | undefined {
  return listGroups(folder).find((group) => !group.some((pid) => isHelper(helper, pid)))?.[0];
}

for (const helper of ["pasta", "slirp4netns"] as const) {
  describe(`outbound through ${helper}`, { skip: whyNot("bwrap", "ip", "python3", helper) }, () => {
    const withSandbox = async (use: (opened: OpenedSandbox) => Promise<void>) => {
      const opened = await openSandbox({ mode: "require", network: helper });
      try {
        await use(opened);
      } finally {
        await opened.close();
      }
    };

    test("replicas have a way out and the sandbox says how", async () => {
      await withSandbox(async ({ sandbox }) => {
        assert.equal(sandbox.strength.network, helper);
        const routes = await python(sandbox, "print(sum(l.split()[1] == '00000000' for l in open('/proc/net/route')))", {
          network: "outbound",
        });
        assert.equal(routes.stdout.trim(), "1", routes.stderr);
      });
    });

    test("a helper that dies is replaced, and meanwhile that is said", async () => {
      await withSandbox(async ({ sandbox, folder, warnings }) => {
        const pid = findHelper(helper, folder);
        assert.ok(pid !== undefined, "the helper runs");
        const replica = await sandbox.spawn(spec([PYTHON, "-I", "-S", "-c", WATCH_ROUTES], { network: "outbound" }));
        let seen = "";
        replica.stdout.on("data", (chunk: Buffer) => {
          seen += chunk.toString();
        });
        await waitUntil(() => seen === "1\n", "the replica sees its route");
        process.kill(pid, "SIGKILL");
        await waitUntil(() => sandbox.strength.degraded.includes("network-down"), "the loss is said");
        await waitUntil(() => !sandbox.strength.degraded.includes("network-down"), "the network is back");
        await waitUntil(() => seen === "1\n0\n1\n", "the same replica sees its new route");
        assert.match(warnings.join("\n"), /network helper ended/);
      });
    });

    test("a namespace that is lost is made again for the replicas that come", async () => {
      await withSandbox(async ({ sandbox, folder, warnings }) => {
        const pid = findHolder(helper, folder);
        assert.ok(pid !== undefined, "the holder runs");
        process.kill(pid, "SIGKILL");
        await waitUntil(() => sandbox.strength.degraded.includes("network-down"), "the loss is said");
        await waitUntil(() => !sandbox.strength.degraded.includes("network-down"), "the network is back");
        const routes = await python(sandbox, `${COUNT_ROUTES}\nprint(count())`, { network: "outbound" });
        assert.equal(routes.stdout.trim(), "1", routes.stderr);
        assert.match(warnings.join("\n"), /network helper ended/);
      });
    });

    test("the helper ends with the sandbox", async () => {
      const opened = await openSandbox({ mode: "require", network: helper });
      const pid = findHelper(helper, opened.folder);
      assert.ok(pid !== undefined, "the helper runs");
      await opened.close();
      await waitUntil(() => !isAlive(pid), "it has ended");
    });
  });
}
