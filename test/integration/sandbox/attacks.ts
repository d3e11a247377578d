import { DENIED, type SystemCall } from "../../../packages/server/src/instances/local/sandbox/system-calls.ts";

export interface Attack {
  name: string;
  language: "python" | "nodejs";
  code: string;
  /** What it prints: mostly the error that it is to meet. */
  expected: string | RegExp;
  network?: "outbound" | "none";
  memoryMiB?: number;
}

/** What the attacks aim at outside. */
export interface Targets {
  serverPid: number;
  /** A file of the server's that everyone may read. */
  secretFile: string;
  /** A runtime that is bound read-only. */
  shim: string;
  /** Where a server listens on every address of the host. */
  port: number;
  hostAddresses: readonly string[];
  abstractSocket: string;
}

const PYTHON_HELPERS = `
import ctypes, errno, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def name(number): return errno.errorcode.get(number, str(number))
def call(number, *args):
  ctypes.set_errno(0)
  result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
  return "done" if result != -1 else name(ctypes.get_errno())
def attempt(action):
  try:
    action()
    return "done"
  except OSError as e:
    return name(e.errno)
def connect(address, port, kind=socket.SOCK_STREAM):
  s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
  s.settimeout(3)
  return attempt(lambda: s.connect((address, port)))
`;

const NODE_HELPERS = `
const attempt = (action) => { try { action(); return "done" } catch (error) { return error.code ?? error.name } };
const fs = require("node:fs");
`;

const python = (name: string, code: string, expected: string | RegExp, more: Partial<Attack> = {}): Attack => ({
  name,
  language: "python",
  code: PYTHON_HELPERS + code,
  expected,
  ...more,
});
const nodejs = (name: string, code: string, expected: string | RegExp, more: Partial<Attack> = {}): Attack => ({
  name,
  language: "nodejs",
  code: NODE_HELPERS + code,
  expected,
  memoryMiB: 256,
  ...more,
});
const opens = (path: string, mode: string) => `print(attempt(lambda: open(${JSON.stringify(path)}, "${mode}")))`;

export function buildFileAttacks({ serverPid, secretFile, shim }: Targets): Attack[] {
  return [
    ...[secretFile, "/etc/shadow", "/root", "/home", "/sys/fs/cgroup", "/dev/mem", "/dev/sda", "/dev/vda", "/run", "/var"].map((path) =>
      python(`reading ${path === secretFile ? "the data folder" : path}`, opens(path, "rb"), "ENOENT"),
    ),
    python("reading the server's memory", opens(`/proc/${serverPid}/mem`, "rb"), "ENOENT"),
    python("reading the server's environment", opens(`/proc/${serverPid}/environ`, "rb"), "ENOENT"),
    python("the first process's root", opens("/proc/1/root/etc/shadow", "rb"), "ENOENT"),
    python("the first process's environment", 'print(open("/proc/1/environ").read().strip("\\0") or "empty")', /^(empty|PWD=\/)$/),
    ...["/usr/bin/new", "/usr/lib/new", "/etc/passwd", "/new", "/dev/new", "/bin/new"].map((path) =>
      python(`writing ${path}`, opens(path, "wb"), "EROFS"),
    ),
    python("writing to the shim", opens(shim, "wb"), "EROFS"),
    python("removing the shim", `print(attempt(lambda: os.unlink(${JSON.stringify(shim)})))`, /^(EROFS|EBUSY)$/),
    python("mounting over the shim", `print(attempt(lambda: os.rename("/tmp", ${JSON.stringify(shim)})))`, /^(EROFS|EBUSY|EXDEV)$/),
    ...["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches"].map((path) =>
      python(`writing ${path}`, opens(path, "wb"), /^(EROFS|EACCES|ENOENT)$/),
    ),
    python("a link out of /tmp", `os.symlink("/etc/shadow", "/tmp/link"); ${opens("/tmp/link", "rb")}`, "ENOENT"),
    python("a hard link to a program", 'print(attempt(lambda: os.link("/usr/bin/su", "/tmp/su")))', "EXDEV"),
    python("a device node", 'print(attempt(lambda: os.mknod("/tmp/disk", 0o060666, os.makedev(254, 0))))', "EPERM"),
    python(
      "the mark of setuid on an own program",
      'open("/tmp/p", "w").close(); os.chmod("/tmp/p", 0o4755); print(os.statvfs("/tmp").f_flag & 2 == 2)',
      "True",
    ),
    python("programs with setuid give nothing", 'print(os.popen("grep -E ^NoNewPrivs /proc/self/status").read().split()[1])', "1"),
    python(
      "no capability is left to take",
      'print([l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")])',
      `['${"0".repeat(16)}${`', '${"0".repeat(16)}`.repeat(4)}']`,
    ),
    python(
      "descriptors of the first process",
      'print(set(os.readlink("/proc/1/fd/" + n) for n in os.listdir("/proc/1/fd") if int(n) > 3))',
      "{'anon_inode:[eventfd]'}",
    ),
    nodejs("reading the data folder", `console.log(attempt(() => fs.readFileSync(${JSON.stringify(secretFile)})))`, "ENOENT"),
    nodejs("writing to the shim", `console.log(attempt(() => fs.appendFileSync(${JSON.stringify(shim)}, "x")))`, /^(EROFS|EACCES)$/),
  ];
}

export function buildProcessAttacks({ serverPid }: Targets, calls: Record<string, number>): Attack[] {
  return [
    python("SIGUSR1 to the server", `print(attempt(lambda: os.kill(${serverPid}, 10)))`, "ESRCH"),
    nodejs("SIGUSR1 to the server", `console.log(attempt(() => process.kill(${serverPid}, "SIGUSR1")))`, "ESRCH"),
    python("SIGKILL to everyone", 'attempt(lambda: os.kill(-1, 9)); print("survived")', "survived"),
    python("SIGKILL to the first process", 'os.kill(1, 9); time.sleep(0.1); print("survived")', "survived"),
    python("ptrace of the first process", `print(call(${calls["ptrace"]}, 16, 1, 0, 0))`, "EPERM"),
    python("reading another's memory", `print(call(${calls["process_vm_readv"]}, 1, 0, 0, 0, 0, 0))`, "EPERM"),
    python(
      "becoming root",
      "print(attempt(lambda: os.setuid(0)), attempt(lambda: os.setgid(0)), attempt(lambda: os.setgroups([0])))",
      "EINVAL EINVAL EPERM",
    ),
    python("higher priority", "print(attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10)))", "EACCES"),
    python(
      "more processes than allowed",
      "import resource; print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)[1])",
      "(0, 0) 4096",
    ),
    python(
      "a bomb of threads",
      "import threading\nmade = 0\ntry:\n  while made < 2000: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); made += 1\nexcept RuntimeError: print(made < 300, flush=True)\nos._exit(0)",
      "True",
      { memoryMiB: 512 },
    ),
  ];
}

export function buildKernelAttacks(architecture: "x64" | "arm64", calls: Record<string, number>): Attack[] {
  const numberOf = (call: SystemCall) => call[architecture];
  const table = DENIED.flatMap(({ errno, calls: denied }) => denied.map((call) => ({ name: call.name, number: numberOf(call), errno })));
  const present = table.filter(({ number }) => number !== undefined);
  const socketAttack = (name: string, args: string, expected: string) =>
    python(name, `print(attempt(lambda: socket.socket(${args})))`, expected);
  const clone = (name: string, flag: number) =>
    python(`a new ${name} namespace`, `print(call(${calls["clone"]}, ${flag} | 17, 0, 0, 0, 0))`, "EPERM");
  return [
    python(
      "every call on the deny list",
      `for n, number in ${JSON.stringify(present.map(({ name, number }) => [name, number]))}: print(n, call(number, 0, 0, 0, 0, 0, 0))`,
      present.map(({ name, errno }) => `${name} ${errno}`).join("\n"),
    ),
    clone("user", 0x10000000),
    clone("network", 0x40000000),
    clone("mount", 0x00020000),
    clone("pid", 0x20000000),
    python(
      "characters for the terminal",
      `print(call(${calls["ioctl"]}, 0, 0x5412, 0), call(${calls["ioctl"]}, 0, 0x541c, 0))`,
      "EPERM EPERM",
    ),
    python("another personality", `print(call(${calls["personality"]}, 0x0040000))`, "EPERM"),
    socketAttack("packet sockets", "17, 3, 0", "EAFNOSUPPORT"),
    socketAttack("crypto sockets", "38, 5, 0", "EAFNOSUPPORT"),
    socketAttack("sockets to the hypervisor", "40, 1, 0", "EAFNOSUPPORT"),
    socketAttack("bluetooth sockets", "31, 3, 0", "EAFNOSUPPORT"),
    socketAttack("netlink beyond routes", "16, 3, 12", "EPROTONOSUPPORT"),
    socketAttack("raw sockets", "2, 3, 1", "EPERM"),
    ...(architecture === "x64" ? buildForeignCalls() : []),
  ];
}

/** The two other ways into the kernel of x86_64: the x32 numbers, and the 32-bit gate, called by machine code. */
function buildForeignCalls(): Attack[] {
  const gate = `
import mmap
code = bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3])  # mov eax, getpid; int 0x80; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print(name(-ctypes.CFUNCTYPE(ctypes.c_int)(address)()))`;
  return [python("x32 calls", "print(call(0x40000000 | 39))", "ENOSYS"), python("32-bit calls", gate, "ENOSYS")];
}

export function buildNetworkAttacks({ port, hostAddresses, abstractSocket }: Targets, hasOwnNetwork: boolean): Attack[] {
  const loopback = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::ffff:127.0.0.1", ...hostAddresses];
  const none = { network: "none" } as const;
  const out = { network: "outbound" } as const;
  const reach = (addresses: readonly string[]) => `print(set(connect(a, ${port}) for a in ${JSON.stringify(addresses)}))`;
  const abstract = `s = socket.socket(socket.AF_UNIX); print(attempt(lambda: s.connect("\\0${abstractSocket}")))`;
  const raise =
    'import fcntl, struct; s = socket.socket(); print(attempt(lambda: fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x49))))';
  const always = [
    python("without a network: the host's addresses", reach(loopback), /^\{('(ENETUNREACH|ECONNREFUSED|EADDRNOTAVAIL)'(, )?)+\}$/, none),
    python("without a network: the world", 'print(connect("192.0.2.77", 80), connect("2001:db8::1", 80))', "ENETUNREACH ENETUNREACH", none),
    python("without a network: abstract sockets of the host", abstract, "ECONNREFUSED", none),
    python(
      "without a network: names",
      'try: socket.getaddrinfo("example.com", 80)\nexcept socket.gaierror: print("unknown")',
      "unknown",
      none,
    ),
    python("without a network: bringing an interface up", raise, "EPERM", none),
  ];
  if (!hasOwnNetwork) return always;
  return [
    ...always,
    ...loopback.map((address) => python(`the server at ${address}`, `print(connect("${address}", ${port}))`, "ENETUNREACH", out)),
    python("the server by UDP", `print(connect("127.0.0.1", ${port}, socket.SOCK_DGRAM))`, "ENETUNREACH", out),
    python("metadata services", 'print(connect("169.254.169.254", 80), connect("169.254.170.2", 80))', "ENETUNREACH ENETUNREACH", out),
    python("metadata services by IPv6", 'print(connect("fd00:ec2::254", 80))', "ENETUNREACH", out),
    python("abstract sockets of the host", abstract, "ECONNREFUSED", out),
    python("bringing the loopback up", raise, "EPERM", out),
    nodejs(
      "the server",
      `const s = require("node:net").connect(${port}, "127.0.0.1"); s.on("error", (e) => console.log(e.code)); s.on("connect", () => { console.log("done"); process.exit() })`,
      "ENETUNREACH",
      out,
    ),
  ];
}

export function buildResourceAttacks(): Attack[] {
  const fill = (path: string) => `
def fill():
  with open("${path}", "wb", 0) as f:
    for _ in range(400): f.write(b"x" * (1 << 20))
print(attempt(fill))`;
  return [
    python("filling /tmp", fill("/tmp/x"), "ENOSPC", { memoryMiB: 256 }),
    python("filling /dev/shm", fill("/dev/shm/x"), "ENOSPC", { memoryMiB: 256 }),
    python(
      "all descriptors",
      'kept = []\ndef take():\n  while True: kept.append(os.open("/dev/null", os.O_RDONLY))\nprint(attempt(take))',
      "EMFILE",
    ),
  ];
}
