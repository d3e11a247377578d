/** A block of commands of a page, and what the page says they print. */
export interface Step {
  line: number;
  commands: string;
  /** The output comes in time: look again until it is there. */
  until: boolean;
  expected: { language: string; text: string } | undefined;
}

/** A page of the documentation as a test reads it. */
export interface Page {
  /** Flags of the server that it needs: `<!-- server: --flag value -->`. */
  flags: readonly string[];
  /** Whether all of it holds with RabbitMQ, too: `<!-- also: rabbitmq -->`. */
  alsoRabbitMq: boolean;
  /** Programs and languages of functions that it needs: `<!-- needs: openssl go -->`. */
  needs: readonly string[];
  /** Files that it asks for: ```js file=index.js. */
  files: readonly { name: string; text: string }[];
  steps: readonly Step[];
}

/** Finds ```bash run (or `run until`) blocks, each with the ```… output block that follows it, if one does. */
export function parsePage(markdown: string): Page {
  const steps: Step[] = [];
  const files: { name: string; text: string }[] = [];
  const fences = markdown.matchAll(/^```(\w+)([^\n]*)\n([\s\S]*?)^```$/gm);
  for (const { 1: language = "", 2: info = "", 3: text = "", index } of fences) {
    const words = info.trim().split(/\s+/);
    const file = words.find((word) => word.startsWith("file="))?.slice("file=".length);
    if (file !== undefined) files.push({ name: file, text });
    else if (words[0] === "run") {
      const line = markdown.slice(0, index).split("\n").length;
      steps.push({ line, commands: text, until: words.includes("until"), expected: undefined });
    } else if (words[0] === "output" && steps.length > 0) steps.at(-1)!.expected = { language, text };
  }
  const alsoRabbitMq = findComment(markdown, "also").includes("rabbitmq");
  return { flags: findComment(markdown, "server"), alsoRabbitMq, needs: findComment(markdown, "needs"), files, steps };
}

function findComment(markdown: string, kind: string): string[] {
  return new RegExp(`^<!-- ${kind}: (.*) -->$`, "m").exec(markdown)?.[1]?.split(" ") ?? [];
}

/**
 * Why what was printed is not what the page shows; undefined when it is. `…` stands for anything; in JSON a key `…` for
 * more keys, an item `…` at the end for more items. Instants and numbers with a fraction are equal to any other.
 */
export function compareOutput(expected: { language: string; text: string }, printed: string): string | undefined {
  const isSame =
    expected.language === "json" ? matchesJson(JSON.parse(expected.text), parseJson(printed)) : matchesText(expected.text, printed);
  return isSame ? undefined : `the page shows\n${expected.text}\nand it printed\n${printed}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const VOLATILE = /\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d+\.\d{3,}\b|\b\d+(\.\d+)?e-\d+\b/g;

function matchesText(expected: string, printed: string): boolean {
  const normalise = (text: string): string => text.replaceAll(VOLATILE, "0").replaceAll(/\s+/g, " ").trim();
  const parts = normalise(expected).split("…");
  const pattern = parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*");
  return new RegExp(`^${pattern}$`).test(normalise(printed));
}

function matchesJson(expected: unknown, printed: unknown): boolean {
  if (expected === "…") return true;
  if (typeof expected === "string") return typeof printed === "string" && matchesText(expected, printed);
  if (typeof expected === "number") return typeof printed === "number" && (expected === printed || !Number.isInteger(expected));
  if (expected === null || typeof expected !== "object") return expected === printed;
  if (printed === null || typeof printed !== "object" || Array.isArray(expected) !== Array.isArray(printed)) return false;
  if (Array.isArray(expected) && expected.at(-1) === "…") return matchesItems(expected, printed as unknown[]);
  const { "…": more, ...shown } = expected as Record<string, unknown>;
  const keys = Object.keys(shown);
  const hasRight = (key: string): boolean =>
    Object.hasOwn(printed, key) && matchesJson(shown[key], (printed as Record<string, unknown>)[key]);
  return keys.every(hasRight) && (more !== undefined || keys.length === Object.keys(printed).length);
}

/** Items in order; `…` at the end stands for any number of further ones. */
function matchesItems(expected: readonly unknown[], printed: readonly unknown[]): boolean {
  const shown = expected.slice(0, expected.indexOf("…"));
  return printed.length >= shown.length && shown.every((item, i) => matchesJson(item, printed[i]));
}
