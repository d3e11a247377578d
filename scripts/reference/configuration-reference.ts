import type { Option } from "../../packages/server/src/config/option.ts";
import { OPTIONS } from "../../packages/server/src/config/options.ts";
import { GENERATED, renderTable } from "./markdown.ts";

const INTRODUCTION = `# Configuration

Every option is a flag, a variable and a key of a configuration file. A flag wins over a variable, a variable over the file, the file
over the default. Wrong values stop the start with exit code 2, and all of them are listed at once.

\`\`\`sh
npm start -- --port 9000                      # a flag
KS_PORT=9000 npm start                        # a variable
npm start -- --config settings.json           # a file (or KS_CONFIG)
\`\`\`

\`settings.json\` holds flags without dashes; lists may be arrays, \`pool\` and \`runtime-path\` objects:

\`\`\`json
{ "port": 9000, "allowed-hosts": ["functions.example.com"], "pool": { "nodejs18": 4, "python39": 2 } }
\`\`\`

Times are written \`500ms\`, \`60s\`, \`2m\` or \`1h\` (a bare number is seconds), sizes \`512MiB\`, \`4GiB\` or \`80%\`. Lists are written with commas;
a flag of a list may be repeated. An unknown flag is refused; an unknown \`KS_\` variable is told in the log, and an empty
variable counts as not set; an empty flag is a value like any other.
`;

/** `docs/reference/configuration.md`. */
export function renderConfigurationReference(): string {
  const shown = (Object.values(OPTIONS) as readonly Option<unknown>[]).filter((option) => !option.hidden);
  const sections = [...new Set(shown.map((option) => option.group))].map((group) => {
    const rows = shown.filter((option) => option.group === group).map(buildRow);
    return `## ${group}\n\n${renderTable(["Flag", "Variable", "Default", "What it does", "Since"], rows)}`;
  });
  return [GENERATED, INTRODUCTION, ...sections].join("\n");
}

function buildRow(option: Option<unknown>): string[] {
  const flag = option.placeholder === "" ? `--${option.flag}` : `--${option.flag} ${option.placeholder}`;
  const fallback = option.defaultText === undefined || option.defaultText === "" ? "" : `\`${option.defaultText}\``;
  return [option.isSecret ? "" : `\`${flag}\``, `\`${option.variable}\``, fallback, option.help, option.since];
}
