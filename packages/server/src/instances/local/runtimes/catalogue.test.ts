import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Language } from "@kube-serverless/contracts";
import { buildCatalogue as build, installHint } from "./catalogue.ts";
import type { InstalledVersion, RejectedProgram } from "./installed.ts";

function installed(language: Language, version: string): InstalledVersion {
  const line = language === "nodejs" ? version.split(".")[0]! : version.split(".").slice(0, 2).join(".");
  return { language, version, line, program: `/bin/${language}-${version}`, prefix: undefined };
}

function buildCatalogue(versions: InstalledVersion[], strict: boolean, rejected: RejectedProgram[] = []) {
  return build({ installed: versions, rejected }, strict);
}

function rejectedAt(language: Language, path: string): RejectedProgram {
  return { language, path, why: "it ended with code 127" };
}

describe("buildCatalogue", () => {
  test("a documented runtime runs on its exact line where that is installed", () => {
    const { info } = buildCatalogue([installed("nodejs", "20.1.0"), installed("nodejs", "18.20.8")], false).get("nodejs18")!;
    assert.deepEqual([info.version, info.exact, info.available, info.hint], ["18.20.8", true, true, ""]);
  });

  test("otherwise on the nearest newer one, and says so", () => {
    const { info } = buildCatalogue([installed("python", "3.13.1"), installed("python", "3.11.2")], false).get("python39")!;
    assert.deepEqual([info.version, info.exact, info.available], ["3.11.2", false, true]);
    assert.match(info.hint, /3\.11\.2/);
  });

  test("never on an older one", () => {
    const { info } = buildCatalogue([installed("go", "1.18.1")], false).get("go119")!;
    assert.equal(info.available, false);
    assert.match(info.hint, /Install Go/);
  });

  test("strict makes a near one an error that says what is there", () => {
    const { info } = buildCatalogue([installed("go", "1.26.8")], true).get("go119")!;
    assert.equal(info.available, false);
    assert.match(info.hint, /Only 1\.26\.8 is installed/);
  });

  test("a program of the name that does not run is told, whether there is a newer one or not", () => {
    const rejected = [rejectedAt("python", "/usr/local/bin/python3.9"), rejectedAt("python", "/opt/bin/python3.12")];
    const told = "/usr/local/bin/python3.9 was found and not taken: it ended with code 127";
    const hintOf = (versions: InstalledVersion[], strict = false) => buildCatalogue(versions, strict, rejected).get("python39")!.info.hint;
    assert.equal(hintOf([]), `Install Python 3.9 or newer, such as \`apt-get install python3\`. ${told}`);
    assert.equal(hintOf([installed("python", "3.11.2")]), `Runs on 3.11.2, the nearest newer version that is installed. ${told}`);
    assert.equal(
      hintOf([installed("python", "3.11.2")], true),
      `Only 3.11.2 is installed, and --strict-runtimes wants exactly 3.9. ${told}`,
    );
    assert.equal(hintOf([installed("python", "3.9.2")]), "");
  });

  test("one that names no version is told where nothing else runs", () => {
    const rejected = [
      rejectedAt("go", "/usr/local/go/bin/go"),
      rejectedAt("go", "/usr/lib/go-1.19/bin/go"),
      rejectedAt("nodejs", "/bin/node"),
    ];
    const hintOf = (versions: InstalledVersion[]) => buildCatalogue(versions, false, rejected).get("go119")!.info.hint;
    assert.match(hintOf([]), /\/usr\/local\/go\/bin\/go was found.*\/usr\/lib\/go-1\.19\/bin\/go was found/);
    assert.doesNotMatch(hintOf([installed("go", "1.26.8")]), /\/usr\/local\/go/);
    assert.match(hintOf([installed("go", "1.26.8")]), /\/usr\/lib\/go-1\.19\/bin\/go was found/);
  });

  test("newer lines have names of their own, odd Node.js lines have none", () => {
    const names = [
      ...buildCatalogue(
        [installed("nodejs", "24.1.0"), installed("nodejs", "23.1.0"), installed("go", "1.26.8"), installed("python", "3.12.0")],
        false,
      ).keys(),
    ];
    assert.deepEqual(names.sort(), ["go119", "go126", "nodejs18", "nodejs24", "python312", "python39"]);
  });

  test("the documented names are there even where nothing is installed", () => {
    assert.deepEqual([...buildCatalogue([], false).keys()], ["nodejs18", "python39", "go119"]);
  });
});

test("installHint tells how to get a runtime that is not there", () => {
  const rejected = [rejectedAt("python", "/usr/bin/python3.12"), rejectedAt("python", "/usr/bin/python3.13")];
  assert.match(installHint("python312", rejected), /\/python\. \/usr\/bin\/python3\.12 was found and not taken: it ended with code 127$/);
  assert.match(installHint("python312", []), /^Install Python 3\.12 .*--runtime-path python312=/);
  assert.match(installHint("nodejs22", []), /^Install Node\.js 22 /);
  assert.match(installHint("go121", []), /^Install Go 1\.21 /);
  assert.equal(installHint("ruby", []), "");
});
