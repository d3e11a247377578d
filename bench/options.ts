import { resolve } from "node:path";
import { parseArgs } from "node:util";

export const PARTS = ["throughput", "first-calls", "burst", "registered", "start", "access"] as const;
export type Part = (typeof PARTS)[number];

export interface BenchOptions {
  parts: readonly Part[];
  quick: boolean;
  assert: boolean;
  rounds: number;
  seconds: number;
  samples: number;
  misses: number;
  bursts: number;
  registered: number;
  starts: number;
  /** Part of one core that others may use. */
  foreignLimit: number;
  quietWaitMs: number;
  allowNoise: boolean;
  /** Undefined prints to standard output. */
  outputFolder: string | undefined;
}

export const HELP = `Usage: npm run bench -- [OPTIONS]

Measures the standalone server against a bare node:http server and a node:http + undici gateway, all in one run on this
machine, and writes docs/performance/standalone.md, .json and .svg.

  --quick               less of everything, for CI: one scenario and a few first calls, on a machine as busy as it is;
                        prints the result and writes nothing (unless --output says where)
  --assert              exit 1 where a ratio stays below 0.7 of its goal in three attempts; one that the clock tells is not judged
                        while others use more than half a core, CPU time always is
  --only PART,...       ${PARTS.join(", ")}; all by default, with --quick the first two;
                        prints the result, too
  --rounds N            rounds of calls per second, each with every variant                        (5; quick 3)
  --seconds N           of load in each measurement                                                (4; quick 2)
  --samples N           first calls and deploys of each runtime                                   (60; quick 8)
  --misses N            first calls of each runtime without a waiting replica                     (20; quick 0)
  --bursts N            bursts of 40 new functions                                                 (5; quick 1)
  --registered N        functions that are stored and never called                        (10000; quick 2000)
  --starts N            starts by npm, in an empty folder and in a full one                       (10; quick 2)
  --foreign-limit N     percent of one core that other processes may use during a measurement             (15)
  --quiet-wait SECONDS  how long to wait for them to use less                                 (300; quick 0)
  --allow-noise         measure anyway after that, and say so in the result                  (always with --quick)
  --output FOLDER       where the result is written                                     (docs/performance)
  --help                this text

Needs wrk (apt-get install wrk) and the runtimes nodejs18, nodejs24, python39 and go119.
Exit codes: 0 measured, 1 an assertion or a measurement failed, 2 wrong options or a missing program, 3 the machine is too busy.
`;

/** Options that cannot be understood. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

/** @returns undefined for --help @throws OptionError */
export function parseOptions(argv: readonly string[], defaultOutput: string): BenchOptions | undefined {
  const values = readArguments(argv);
  if (values.help === true) return undefined;
  const quick = values.quick === true;
  // A part of it must not take the place of a whole run's page.
  const isWhole = !quick && values.only === undefined;
  const number = (
    name: "rounds" | "seconds" | "samples" | "misses" | "bursts" | "registered" | "starts",
    full: number,
    short: number,
    least = 1,
  ): number => parseNumber(name, values[name], least) ?? (quick ? short : full);
  return {
    parts: parseParts(values.only) ?? (quick ? ["throughput", "first-calls"] : PARTS),
    quick,
    assert: values.assert === true,
    rounds: number("rounds", 5, 3),
    seconds: number("seconds", 4, 2),
    samples: number("samples", 60, 8),
    misses: number("misses", 20, 0, 0),
    bursts: number("bursts", 5, 1),
    registered: number("registered", 10_000, 2000),
    starts: number("starts", 10, 2),
    foreignLimit: (parseNumber("foreign-limit", values["foreign-limit"], 0) ?? 15) / 100,
    quietWaitMs: (parseNumber("quiet-wait", values["quiet-wait"], 0) ?? (quick ? 0 : 300)) * 1000,
    allowNoise: quick || values["allow-noise"] === true,
    outputFolder: values.output !== undefined ? resolve(values.output) : isWhole ? defaultOutput : undefined,
  };
}

function readArguments(argv: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        ...{
          quick: flag,
          assert: flag,
          help: flag,
          "allow-noise": flag,
          only: text,
          output: text,
          "foreign-limit": text,
          "quiet-wait": text,
        },
        ...{ rounds: text, seconds: text, samples: text, misses: text, bursts: text, registered: text, starts: text },
      },
    }).values;
  } catch (error) {
    throw new OptionError((error as Error).message, { cause: error });
  }
}

function parseNumber(name: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}$/.test(text) || Number(text) < least)
    throw new OptionError(`--${name} must be a whole number from ${least} up, got ${text}`);
  return Number(text);
}

function parseParts(text: string | undefined): Part[] | undefined {
  if (text === undefined) return undefined;
  const wanted = text.split(",");
  const unknown = wanted.filter((part) => !PARTS.some((known) => known === part));
  if (unknown.length > 0) throw new OptionError(`--only knows ${PARTS.join(", ")}, not ${unknown.join(", ")}`);
  return PARTS.filter((part) => wanted.includes(part));
}
