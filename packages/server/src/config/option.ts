/** What parsing one value gives: the value, or why it is wrong (to be read after the option's name). */
export type Parsed<T> = { value: T } | { problem: string };

/** Facts of the machine and its user that some defaults depend on. */
export interface DefaultContext {
  homeFolder: string;
  /** What relative paths are relative to. */
  currentFolder: string;
  environment: Readonly<Record<string, string | undefined>>;
  /** What the machine, or the cgroup the server runs in, has. */
  machineMemoryMiB: number;
  /** Reads a file that an option names; throws when it cannot. */
  readFile(path: string): string;
  /** Whether this is a file that may be run. */
  isProgram(path: string): boolean;
}

export type OptionGroup =
  | "Listening"
  | "Safety"
  | "Access"
  | "Data"
  | "Calls"
  | "Replicas"
  | "Runtimes"
  | "Queues"
  | "Observing"
  | "Costs"
  | "Kubernetes"
  | "Testing";

/** One option, declared once: its flag, its variable, its key in the file, its help and its check all come from here. */
export interface Option<T> {
  /** Without the dashes; also the key in a configuration file. */
  flag: string;
  /** `KS_` and the flag in capitals, unless a standard gives the name. */
  variable: string;
  group: OptionGroup;
  /** What is written for the value; empty for a switch. */
  placeholder: string;
  help: string;
  /** Version that brought it. */
  since: string;
  /** Left out of the help and the reference. */
  hidden: boolean;
  /** Taken from its variable or the file alone, as flags show in the list of processes. */
  isSecret: boolean;
  /** Given several times, the values add up. */
  isList: boolean;
  parse(text: string, context: DefaultContext): Parsed<T>;
  /** The default as a user would write it; undefined for none. */
  defaultText: string | undefined;
  /** Used when nothing is said. */
  fallback(context: DefaultContext): T;
}

export interface OptionDeclaration<T> {
  group: OptionGroup;
  help: string;
  parse(text: string, context: DefaultContext): Parsed<T>;
  /** Written as a user would write it, and parsed like it. */
  default?: string;
  /** Instead of `default`, where it depends on the machine; `default` then only says so in the help. */
  fallback?(context: DefaultContext): T;
  placeholder?: string;
  variable?: string;
  since?: string;
  hidden?: boolean;
  isSecret?: boolean;
  isList?: boolean;
}

/** Completes a declaration; a default that does not parse is a defect and throws. */
export function declareOption<T>(flag: string, declaration: OptionDeclaration<T>): Option<T> {
  return {
    flag,
    variable: declaration.variable ?? `KS_${flag.toUpperCase().replaceAll("-", "_")}`,
    group: declaration.group,
    placeholder: declaration.placeholder ?? "",
    help: declaration.help,
    since: declaration.since ?? "0.1.0",
    hidden: declaration.hidden ?? false,
    isSecret: declaration.isSecret ?? false,
    isList: declaration.isList ?? false,
    parse: declaration.parse,
    defaultText: declaration.default,
    fallback: declaration.fallback ?? ((context) => parseDefault(flag, declaration, context)),
  };
}

function parseDefault<T>(flag: string, declaration: OptionDeclaration<T>, context: DefaultContext): T {
  const parsed = declaration.parse(declaration.default ?? "", context);
  if ("problem" in parsed) throw new Error(`The default of --${flag} ${parsed.problem}`);
  return parsed.value;
}
