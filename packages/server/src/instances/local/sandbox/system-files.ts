import { chmodSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Who a function is inside, whatever its uid outside. */
export const INSIDE_ID = 1000;

const GENERATED = {
  passwd: `root:x:0:0:root:/:/bin/sh\nfunction:x:${INSIDE_ID}:${INSIDE_ID}:function:/tmp:/bin/sh\n`,
  group: `root:x:0:\nfunction:x:${INSIDE_ID}:\n`,
  hosts: "127.0.0.1 localhost\n::1 localhost\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
} as const;

/** Of the host's /etc, as far as they are there: what loaders, TLS and clocks read. No accounts, no configuration. */
const FROM_HOST = [
  "/etc/ld.so.cache",
  "/etc/localtime",
  "/etc/alternatives",
  "/etc/services",
  "/etc/protocols",
  "/etc/ssl/certs",
  "/etc/ssl/openssl.cnf",
  "/etc/ca-certificates",
  "/etc/pki/tls",
  "/etc/pki/ca-trust",
  "/etc/crypto-policies",
];

const ROOT_FOLDERS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

export type Nameservers = "host" | readonly string[];

/** Arguments that give a sandbox the system's programs and libraries; `nameservers` by the kind of its network. */
export interface SystemFiles {
  argumentsFor(network: "outbound" | "none"): readonly string[];
}

/** Writes the few files of /etc that are ours, and composes what of the system is seen inside. */
export function createSystemFiles(folder: string, outboundNameservers: Nameservers): SystemFiles {
  mkdirSync(folder, { recursive: true });
  // Whatever the server's umask: others are to read these.
  chmodSync(folder, 0o755);
  const write = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
    return path;
  };
  const generated = Object.entries(GENERATED).flatMap(([name, text]) => ["--ro-bind", write(name, text), `/etc/${name}`]);
  const fromHost = FROM_HOST.flatMap((path) => ["--ro-bind-try", path, path]);
  const shared = ["--ro-bind", "/usr", "/usr", ...ROOT_FOLDERS.flatMap(bindRootFolder), ...generated, ...fromHost];
  const resolvers = {
    outbound: write("resolv-outbound.conf", writeNameservers(outboundNameservers)),
    none: write("resolv-none.conf", ""),
  };
  return { argumentsFor: (network) => [...shared, "--ro-bind", resolvers[network], "/etc/resolv.conf"] };
}

function writeNameservers(nameservers: Nameservers): string {
  if (nameservers !== "host") return nameservers.map((address) => `nameserver ${address}\n`).join("");
  try {
    return readFileSync("/etc/resolv.conf", "utf8");
  } catch {
    return "";
  }
}

/** Links into /usr where distributions have merged them, folders of their own elsewhere. */
function bindRootFolder(path: string): string[] {
  try {
    return lstatSync(path).isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path];
  } catch {
    return [];
  }
}
