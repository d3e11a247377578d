import { linkSync } from "node:fs";
import { copyFile, link, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { KsError } from "@kube-serverless/contracts";
import type { RevisionRef } from "../../port.ts";
import { diskFullError, isNoSpace } from "../../../store/disk-full.ts";
import type { GoProgram, GoSupport } from "../provider.ts";
import type { CatalogueEntry } from "../runtimes/catalogue.ts";
import { BASE_ENVIRONMENT, type StartPlan } from "../runtimes/language.ts";
import type { Sandbox } from "../sandbox/port.ts";
import type { GoBuilder, GoBuildRequest } from "../../go/go-builder.ts";
import type { GoToolkits } from "./go-toolkits.ts";
import { succeeds } from "../../../succeeds.ts";

export interface GoRuntimeOptions {
  builder: GoBuilder;
  toolkits: Pick<GoToolkits, "getAny">;
  sandbox: Pick<Sandbox, "stage" | "strength">;
  /** Folders of replicas are made here; the sandbox's user must be able to reach it. */
  functionsFolder: string;
}

const PROGRAM = "handler";
const STAGED = ".programs";
const UNFINISHED = ".part";
const MAX_LINK_ATTEMPTS = 3;

/** Starts launchers, and puts programs where they find them. */
export class GoRuntime implements GoSupport {
  readonly #options: GoRuntimeOptions;

  constructor(options: GoRuntimeOptions) {
    this.#options = options;
  }

  /** Removes what an earlier run left. */
  async start(): Promise<void> {
    await rm(this.#options.functionsFolder, { recursive: true, force: true });
    await mkdir(this.#options.functionsFolder, { recursive: true, mode: 0o755 });
  }

  async planLauncher(replicaId: string): Promise<StartPlan & { functionFolder: string }> {
    const { toolkits, sandbox, functionsFolder } = this.#options;
    const { launcher } = await toolkits.getAny();
    const staged = await sandbox.stage(launcher);
    const functionFolder = join(functionsFolder, replicaId);
    await mkdir(functionFolder, { recursive: true, mode: 0o755 });
    // Nothing can be bound without a sandbox: the launcher is told where the folder really is.
    const inside = sandbox.strength.driver === "plain" ? functionFolder : "/function";
    return {
      command: [staged.target, `${inside}/${PROGRAM}`],
      environment: BASE_ENVIRONMENT,
      binds: [staged, { source: functionFolder, target: inside }],
      functionFolder,
    };
  }

  async build(revision: RevisionRef, code: string, entry: CatalogueEntry): Promise<GoProgram> {
    if (entry.installed === undefined) throw new KsError("INTERNAL", { message: `${entry.info.name} is not installed` });
    const language = entry.info.name.replace(/^go1/, "go1.");
    const request = { code, handler: revision.spec.handler, program: entry.installed.program, language };
    const artifactPath = await this.#options.builder.build(request);
    return { link: (functionFolder) => this.#linkOrRebuild(request, artifactPath, functionFolder) };
  }

  /** The cache of programs is bounded: one may go while a replica waits for room. */
  async #linkOrRebuild(request: GoBuildRequest, artifactPath: string, functionFolder: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.link(attempt === 1 ? artifactPath : await this.#options.builder.build(request), functionFolder);
      } catch (error) {
        if (isNoSpace(error)) throw diskFullError(functionFolder, error);
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || attempt === MAX_LINK_ATTEMPTS) throw error;
      }
    }
  }

  async link(artifactPath: string, functionFolder: string): Promise<void> {
    const target = join(functionFolder, PROGRAM);
    try {
      // A first call waits for it: a thread would take longer than the link does.
      linkSync(artifactPath, target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
      await link(await this.#stageProgram(artifactPath), target);
    }
  }

  async release(functionFolder: string): Promise<void> {
    await rm(functionFolder, { recursive: true, force: true });
    await this.#removeUnused();
  }

  /** Copies that no replica's folder links to any more. */
  async #removeUnused(): Promise<void> {
    const folder = join(this.#options.functionsFolder, STAGED);
    for (const name of await readdir(folder).catch(() => [])) {
      const path = join(folder, name);
      const links = await stat(path).then(
        ({ nlink }) => nlink,
        () => 0,
      );
      if (links === 1 && !name.endsWith(UNFINISHED)) await rm(path, { force: true });
    }
  }

  /** The artifacts are on another file system: one copy serves all replicas, so that they share its pages. */
  async #stageProgram(artifactPath: string): Promise<string> {
    const folder = join(this.#options.functionsFolder, STAGED);
    const staged = join(folder, basename(dirname(artifactPath)));
    if (await succeeds(stat(staged))) return staged;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const work = `${staged}.${process.hrtime.bigint()}${UNFINISHED}`;
    try {
      await copyFile(artifactPath, work);
      await rename(work, staged);
    } catch (error) {
      await rm(work, { force: true });
      throw error;
    }
    return staged;
  }
}
