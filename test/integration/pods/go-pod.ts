import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GoArtifacts } from "../../../packages/server/src/instances/go/go-artifacts.ts";
import { GoBuilder } from "../../../packages/server/src/instances/go/go-builder.ts";
import { buildGoEnvironment } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import { runPlainBuild } from "../../../packages/server/src/instances/local/go/run-build.ts";
import { GO_CACHE, GO_TOOLKITS, GOS, type Go } from "../runtimes/gos.ts";
import type { PodLanguage } from "./pod-languages.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

const ECHO = `package main
import ("context"; "os")
func Handler(ctx context.Context, event map[string]any) (any, error) {
	ctx.Value("log").(func(...any))("printed", ctx.Value("requestId"))
	return map[string]any{"a": event["body"], "who": os.Getenv("WHO")}, nil
}`;
const SLOW = `package main
import "time"
func Handler(event map[string]any) (any, error) {
	time.Sleep(time.Duration(event["body"].(float64)) * time.Millisecond)
	return "slept", nil
}`;
/** Prints in all the ways that Go has. */
export const GO_PRINTS = `package main
import ("fmt"; "log"; "os")
func Handler(event map[string]any) (any, error) {
	fmt.Println("by fmt")
	fmt.Fprintln(os.Stderr, "by stderr")
	log.Println("by log")
	return nil, nil
}`;

const builder = new GoBuilder({
  toolkits: GO_TOOLKITS,
  artifacts: new GoArtifacts({ folder: join(GO_CACHE, "artifacts", "pods"), maxBytes: 256 * 1024 * 1024, clock: systemClock }),
  run: (spec) => runPlainBuild({ ...spec, environment: { ...spec.environment, KS_FOR_POD: "1" } }),
  stage: async (source) => ({ source, target: source }),
});

async function compile({ program }: Go, code: string): Promise<Buffer> {
  return readFile(await builder.build({ code, handler: "Handler", program, language: "go1.19" }));
}

/** One of the programs of a Go image, made as its Dockerfile does. */
export async function buildCommand({ line, program }: Go, name: string): Promise<string> {
  const folder = join(GO_CACHE, `commands-${line}`);
  await mkdir(folder, { recursive: true });
  const output = join(folder, name);
  const environment = { ...buildGoEnvironment(folder), GOCACHE: join(GO_CACHE, "go-build") };
  await promisify(execFile)(program, ["build", "-o", output, `./${name}`], { cwd: join(ROOT, "runtimes/go"), env: environment });
  return output;
}

async function describeGo(go: Go): Promise<PodLanguage> {
  const language: PodLanguage = {
    name: go.name,
    missing: go.missing,
    command: [],
    environment: {},
    handler: "Handler",
    module: undefined,
    echo: ECHO,
    slow: SLOW,
    // A program that is none.
    broken: "broken",
  };
  if (go.missing !== undefined) return language;
  const launcher = await buildCommand(go, "podlauncher");
  const programs = new Map<string, Buffer>([["broken", Buffer.from("no program")]]);
  for (const code of [ECHO, SLOW, GO_PRINTS]) programs.set(code, await compile(go, code));
  return { ...language, command: [launcher], programs };
}

/** The launcher of each Go as it is in a pod, with the programs of the tests. */
export const GO_PODS: readonly PodLanguage[] = await Promise.all(GOS.map(describeGo));
