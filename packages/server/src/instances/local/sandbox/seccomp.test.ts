import assert from "node:assert/strict";
import { test } from "node:test";
import { buildSeccompProgram, ERRNO, encodeSeccompProgram, type SeccompArchitecture } from "./seccomp.ts";
import { DENIED } from "./system-calls.ts";

const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003 } as const;
const ALLOWED = "allowed";

interface Call {
  architecture?: keyof typeof AUDIT;
  number: number;
  args?: readonly (number | bigint)[];
}

function encodeCall(call: Call, architecture: SeccompArchitecture): Buffer {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number, 0);
  data.writeUInt32LE(AUDIT[call.architecture ?? architecture], 4);
  for (const [index, value] of (call.args ?? []).entries()) data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 16 + 8 * index);
  return data;
}

/** What the kernel does with the encoded filter: a tiny interpreter of the instructions it uses. */
function judge(call: Call, architecture: SeccompArchitecture): number | typeof ALLOWED {
  const program = encodeSeccompProgram(buildSeccompProgram(architecture));
  const data = encodeCall(call, architecture);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at += 1) {
    const code = program.readUInt16LE(at * 8);
    const constant = program.readUInt32LE(at * 8 + 4);
    if (code === 0x20) {
      accumulator = data.readUInt32LE(constant);
      continue;
    }
    if (code === 0x06) return returned(constant);
    at += program.readUInt8(at * 8 + (compare(code, accumulator, constant) ? 2 : 3));
  }
  throw new Error("the filter ends without an answer");
}

function compare(code: number, accumulator: number, constant: number): boolean {
  if (code === 0x15) return accumulator === constant;
  if (code === 0x25) return accumulator > constant;
  if (code === 0x35) return accumulator >= constant;
  if (code === 0x45) return (accumulator & constant) !== 0;
  throw new Error(`unknown instruction ${code}`);
}

function returned(constant: number): number | typeof ALLOWED {
  if (constant === 0x7fff0000) return ALLOWED;
  assert.equal(constant & 0xffff0000, 0x00050000, "either allowed or an errno");
  return constant & 0xffff;
}

const NUMBERS = {
  x64: { read: 0, write: 1, clone: 56, ioctl: 16, personality: 135, socket: 41, socketpair: 53, execve: 59, futex: 202 },
  arm64: { read: 63, write: 64, clone: 220, ioctl: 29, personality: 92, socket: 198, socketpair: 199, execve: 221, futex: 98 },
} as const;

const CLONE_THREAD = 0x3d0f00;
const CASES: readonly [name: keyof (typeof NUMBERS)["x64"], args: readonly (number | bigint)[], expected: number | typeof ALLOWED][] = [
  ["read", [], ALLOWED],
  ["write", [], ALLOWED],
  ["execve", [], ALLOWED],
  ["futex", [], ALLOWED],
  ["clone", [CLONE_THREAD], ALLOWED],
  ["clone", [0x1200011], ALLOWED],
  ["clone", [0x10000000 | 17], ERRNO.EPERM],
  ["clone", [0x40000000 | 17], ERRNO.EPERM],
  ["clone", [0x00020000 | 17], ERRNO.EPERM],
  ["ioctl", [0, 0x5401], ALLOWED],
  ["ioctl", [0, 0x5412], ERRNO.EPERM],
  ["ioctl", [0, 0x100005412n], ERRNO.EPERM],
  ["ioctl", [0, 0x541c], ERRNO.EPERM],
  ["personality", [0], ALLOWED],
  ["personality", [0xffffffff], ALLOWED],
  ["personality", [0x0040000], ERRNO.EPERM],
  ["socket", [1, 1, 0], ALLOWED],
  ["socket", [2, 1, 6], ALLOWED],
  ["socket", [10, 2, 17], ALLOWED],
  ["socket", [16, 3, 0], ALLOWED],
  ["socket", [16, 3, 12], ERRNO.EPROTONOSUPPORT],
  ["socket", [17, 3, 0], ERRNO.EAFNOSUPPORT],
  ["socket", [38, 5, 0], ERRNO.EAFNOSUPPORT],
  ["socket", [40, 1, 0], ERRNO.EAFNOSUPPORT],
  ["socket", [0x100000011n, 3, 0], ERRNO.EAFNOSUPPORT],
  ["socketpair", [1, 1, 0], ALLOWED],
  ["socketpair", [30, 1, 0], ERRNO.EAFNOSUPPORT],
];

for (const architecture of ["x64", "arm64"] as const) {
  for (const [name, args, expected] of CASES) {
    test(`${architecture}: ${name}(${args.map((arg) => `0x${arg.toString(16)}`).join(", ")}) is ${expected}`, () => {
      assert.equal(judge({ number: NUMBERS[architecture][name], args }, architecture), expected);
    });
  }

  test(`${architecture}: everything on the deny list is refused with its errno`, () => {
    for (const group of DENIED) {
      for (const call of group.calls) {
        const number = call[architecture];
        if (number !== undefined) assert.equal(judge({ number }, architecture), ERRNO[group.errno], call.name);
      }
    }
  });

  test(`${architecture}: every number that is neither denied nor judged is allowed, and every unknown one is not`, () => {
    const listed = new Set<number>(DENIED.flatMap((group) => group.calls.map((call) => call[architecture] ?? -1)));
    for (const name of ["clone", "ioctl", "personality", "socket", "socketpair"] as const) listed.add(NUMBERS[architecture][name]);
    for (let number = 0; number < 1_000; number += 1) {
      if (!listed.has(number)) assert.equal(judge({ number }, architecture), number <= 469 ? ALLOWED : ERRNO.ENOSYS, String(number));
    }
  });

  test(`${architecture}: other architectures and x32 are no way around`, () => {
    assert.equal(judge({ architecture: "i386", number: 3 }, architecture), ERRNO.ENOSYS);
    assert.equal(judge({ number: 0x40000000 + 1 }, architecture), ERRNO.ENOSYS);
    assert.equal(judge({ number: 0xffffffff }, architecture), ERRNO.ENOSYS);
  });
}
