import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Language } from "@kube-serverless/contracts";
import { buildCatalogue, installHint } from "./catalogue.ts";
import type { InstalledVersion } from "./installed.ts";

function installed(language: Language, version: string): InstalledVersion {
  const line = language === "nodejs" ? version.split(".")[0]! : version.split(".").slice(0, 2).join(".");
  return { language, version, line, program: `/bin/${language}-${version}`, prefix: undefined };
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
  assert.match(installHint("python312"), /^Install Python 3\.12 .*--runtime-path python312=/);
  assert.match(installHint("nodejs22"), /^Install Node\.js 22 /);
  assert.match(installHint("go121"), /^Install Go 1\.21 /);
  assert.equal(installHint("ruby"), "");
});
