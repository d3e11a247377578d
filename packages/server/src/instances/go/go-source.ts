/** Where something stands in a source: both from 1, columns in bytes, as the compiler counts. */
export interface GoPosition {
  line: number;
  column: number;
}

export interface GoImport extends GoPosition {
  path: string;
}

/** What stands before the first declaration. */
export interface GoHeader {
  /** Offsets of the package's name in the code; undefined when there is no package clause. */
  packageName: { start: number; end: number } | undefined;
  imports: readonly GoImport[];
}

/** Name of the file that errors and stacks show. */
export const GO_FILE_NAME = "handler.go";

const NAME = /[\p{L}_][\p{L}\p{Nd}_]*/uy;
const SPACE = /(?:[ \t\r\n;]|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const STRING = /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y;

class Scanner {
  readonly #code: string;
  at = 0;

  constructor(code: string) {
    this.#code = code;
  }

  /** What matches here, after space and comments. */
  take(pattern: RegExp): string | undefined {
    this.#match(SPACE);
    return this.#match(pattern);
  }

  takeWord(word: string): boolean {
    const before = this.at;
    if (this.take(NAME) === word) return true;
    this.at = before;
    return false;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#code)?.[0];
    if (match !== undefined) this.at += match.length;
    return match;
  }
}

/** Reads package clause and imports. What it doesn't understand ends it: the compiler says what is wrong there. */
export function parseGoHeader(code: string): GoHeader {
  const scanner = new Scanner(code);
  if (!scanner.takeWord("package")) return { packageName: undefined, imports: [] };
  const name = scanner.take(NAME);
  if (name === undefined) return { packageName: undefined, imports: [] };
  const packageName = { start: scanner.at - name.length, end: scanner.at };
  const imports: GoImport[] = [];
  while (scanner.takeWord("import")) {
    if (scanner.take(/\(/y) === undefined) {
      if (!takeImport(scanner, code, imports)) break;
    } else {
      while (takeImport(scanner, code, imports));
      if (scanner.take(/\)/y) === undefined) break;
    }
  }
  return { packageName, imports };
}

function takeImport(scanner: Scanner, code: string, imports: GoImport[]): boolean {
  if (scanner.take(/\./y) === undefined) scanner.take(NAME);
  const literal = scanner.take(STRING);
  if (literal === undefined) return false;
  imports.push({ path: literal.slice(1, -1), ...positionAt(code, scanner.at - literal.length) });
  return true;
}

export function positionAt(code: string, offset: number): GoPosition {
  const before = code.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: Buffer.byteLength(before.slice(lineStart)) + 1 };
}

/**
 * The source as it is compiled: a package that can be imported, which `main` can't, with every line and column where it was.
 * A `main` function stays, as any other that nobody calls.
 */
export function rewriteGoSource(code: string, header: GoHeader): string {
  const first = `/*line ${GO_FILE_NAME}:1:1*/`;
  if (header.packageName === undefined) return first + code;
  const { line, column } = positionAt(code, header.packageName.end);
  const after = `/*line ${GO_FILE_NAME}:${line}:${column}*/`;
  return `${first}${code.slice(0, header.packageName.start)}function${after}${code.slice(header.packageName.end)}`;
}

const KEYWORDS = new Set(
  "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var".split(
    " ",
  ),
);

/** `Handler` of `Handler` or `main.Handler`; undefined when no function can have that name. */
export function parseGoHandler(handler: string): string | undefined {
  const name = handler.slice(handler.lastIndexOf(".") + 1);
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && name !== "_" && !KEYWORDS.has(name) ? name : undefined;
}
