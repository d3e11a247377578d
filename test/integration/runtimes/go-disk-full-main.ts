/** Keeps programs on a disk of 2 MiB, and tells what became of them. */
import { readdir } from "node:fs/promises";
import type { KsError } from "@kube-serverless/contracts";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GoArtifacts } from "../../../packages/server/src/instances/go/go-artifacts.ts";

const folder = process.argv[2]!;
const artifacts = new GoArtifacts({ folder, maxBytes: 1024 * 1024 * 1024, clock: systemClock });
const SMALL = Buffer.alloc(800 * 1024, 1);

const kept: boolean[] = [];
for (const key of ["a", "b", "c"]) await artifacts.add(key, SMALL);
for (const key of ["a", "b", "c"]) kept.push((await artifacts.find(key)) !== undefined);
const error = await artifacts.add("large", Buffer.alloc(3 * 1024 * 1024, 1)).then(
  () => undefined,
  (refusal: KsError) => refusal,
);
const left = (await readdir(folder)).length;
const again = (await artifacts.add("a", SMALL)) === (await artifacts.find("a"));
console.log(JSON.stringify({ kept, code: error?.code, message: error?.message, left, again }));
