import type { Option } from "./option.ts";

const WIDTH = 100;
const INDENT = " ".repeat(6);

const INTRODUCTION = `Usage: npm start -- [options]

Runs Kube-Serverless on this machine: one process that keeps functions, runs them in sandboxes, scales them from zero and back,
and answers HTTP.

Examples
  npm start                                     listens on http://127.0.0.1:8080
  npm start -- --port 9000 --data-dir ./data    another port, another folder
  KS_PORT=9000 npm start                        every option is a variable, too
  npm start -- --config settings.json           {"port": 9000, "pool": {"nodejs18": 4}}

A flag wins over a variable, a variable over the file, the file over the default.
Times are written 500ms, 60s or 2m (a bare number is seconds), sizes 512MiB or 4GiB, lists with commas.
`;

/** What `--help` prints: every option by group, with its variable and its default. */
export function formatHelp(options: readonly Option<unknown>[]): string {
  const shown = options.filter((option) => !option.hidden);
  const groups = [...new Set(shown.map((option) => option.group))];
  const sections = groups.map((group) => {
    const entries = shown.filter((option) => option.group === group).map(formatOption);
    return `${group}\n${entries.join("")}`;
  });
  return [INTRODUCTION, ...sections, GENERAL].join("\n");
}

const GENERAL = `General
  --config FILE  (KS_CONFIG)
      JSON file whose keys are the flags without dashes.
  --version
      Prints the version.
  --help
      Prints this.

Reference: docs/reference/configuration.md
`;

function formatOption(option: Option<unknown>): string {
  const flag = option.placeholder === "" ? `--${option.flag}` : `--${option.flag} ${option.placeholder}`;
  if (option.isSecret) return `  ${option.variable}\n${wrap(option.help)}`;
  const hasDefault = option.defaultText !== undefined && option.defaultText !== "" && option.placeholder !== "";
  const text = hasDefault ? `${option.help} [default: ${option.defaultText}]` : option.help;
  return `  ${flag}  (${option.variable})\n${wrap(text)}`;
}

function wrap(text: string): string {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && line.length + 1 + word.length > WIDTH - INDENT.length) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.map((line) => `${INDENT}${line}\n`).join("");
}
