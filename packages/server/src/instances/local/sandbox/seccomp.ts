import { DENIED, JUDGED, LAST_KNOWN_CALL } from "./system-calls.ts";

export type SeccompArchitecture = "x64" | "arm64";

const AUDIT_ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
/** x86_64 processes may call with this bit set and get other structures: a second interface that nothing here needs. */
const X32_BIT = 0x40000000;

export const ERRNO = { EPERM: 1, ENOSYS: 38, EPROTONOSUPPORT: 93, EAFNOSUPPORT: 97 } as const;
type ErrnoName = keyof typeof ERRNO;

const ALLOW = 0x7fff0000;
const REFUSE = 0x00050000;

// Offsets in the kernel's `struct seccomp_data`; both architectures are little-endian, so the low half comes first.
const OFFSET_NUMBER = 0;
const OFFSET_ARCHITECTURE = 4;
const offsetOfArgument = (index: number) => 16 + 8 * index;

// Classic BPF: load a word, jump on a comparison with a constant, mask, return.
const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const JUMP_GREATER_OR_EQUAL = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

export interface Instruction {
  code: number;
  /** How many instructions to pass over when the comparison holds, and when not. */
  jumpTrue: number;
  jumpFalse: number;
  constant: number;
}

/** CLONE_NEWCGROUP, UTS, IPC, USER, PID, NET, NS. The one for time can't be given to `clone`. */
const CLONE_NEW_ANY = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000;
/** Put characters into the terminal's input; paste on a console. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;
const NETLINK_ROUTE = 0;
/** Asks for the personality without changing it. */
const PERSONALITY_QUERY = 0xffffffff;

const load = (offset: number): Instruction => ({ code: LOAD, jumpTrue: 0, jumpFalse: 0, constant: offset });
const allow: Instruction = { code: RETURN, jumpTrue: 0, jumpFalse: 0, constant: ALLOW };
const refuse = (name: ErrnoName): Instruction => ({ code: RETURN, jumpTrue: 0, jumpFalse: 0, constant: REFUSE | ERRNO[name] });

/** Runs the block when the comparison holds, else passes over it. */
function when(code: number, constant: number, block: readonly Instruction[]): Instruction[] {
  return [{ code, jumpTrue: 0, jumpFalse: block.length, constant }, ...block];
}

/** Runs the block when the comparison does not hold. */
function unless(code: number, constant: number, block: readonly Instruction[]): Instruction[] {
  return [{ code, jumpTrue: block.length, jumpFalse: 0, constant }, ...block];
}

function refuseCall(number: number | undefined, name: ErrnoName): Instruction[] {
  return number === undefined ? [] : when(JUMP_EQUAL, number, [refuse(name)]);
}

function refuseDenied(architecture: SeccompArchitecture): Instruction[] {
  return DENIED.flatMap((group) => group.calls.flatMap((call) => refuseCall(call[architecture], group.errno)));
}

/** Only the low half of each argument is looked at, as the kernel takes these as 32-bit values and ignores the rest. */
function judgeArguments(architecture: SeccompArchitecture): Instruction[] {
  const judge = (call: keyof typeof JUDGED, block: Instruction[]) => when(JUMP_EQUAL, JUDGED[call][architecture], [...block, allow]);
  return [
    ...judge("clone", [load(offsetOfArgument(0)), ...when(JUMP_ANY_BIT, CLONE_NEW_ANY, [refuse("EPERM")])]),
    ...judge("ioctl", [load(offsetOfArgument(1)), ...[TIOCSTI, TIOCLINUX].flatMap((c) => when(JUMP_EQUAL, c, [refuse("EPERM")]))]),
    ...judge("personality", [
      load(offsetOfArgument(0)),
      ...when(JUMP_EQUAL, PERSONALITY_QUERY, [allow]),
      ...unless(JUMP_EQUAL, 0, [refuse("EPERM")]),
    ]),
    ...judge("socketpair", [load(offsetOfArgument(0)), ...unless(JUMP_EQUAL, AF.unix, [refuse("EAFNOSUPPORT")])]),
    ...judge("socket", [
      load(offsetOfArgument(0)),
      ...[AF.unix, AF.inet, AF.inet6].flatMap((family) => when(JUMP_EQUAL, family, [allow])),
      ...unless(JUMP_EQUAL, AF.netlink, [refuse("EAFNOSUPPORT")]),
      load(offsetOfArgument(2)),
      ...unless(JUMP_EQUAL, NETLINK_ROUTE, [refuse("EPROTONOSUPPORT")]),
    ]),
  ];
}

/** The filter that every sandboxed process runs under: what is refused, and everything else allowed. */
export function buildSeccompProgram(architecture: SeccompArchitecture): Instruction[] {
  return [
    load(OFFSET_ARCHITECTURE),
    ...unless(JUMP_EQUAL, AUDIT_ARCH[architecture], [refuse("ENOSYS")]),
    load(OFFSET_NUMBER),
    // x32 numbers lie above this, too; -1, which a tracer sets to skip a call, never comes from a traced process here.
    ...when(JUMP_GREATER_OR_EQUAL, X32_BIT, [refuse("ENOSYS")]),
    ...when(JUMP_GREATER, LAST_KNOWN_CALL, [refuse("ENOSYS")]),
    ...refuseDenied(architecture),
    ...judgeArguments(architecture),
    allow,
  ];
}

/** As the kernel takes it: eight bytes an instruction, little-endian. */
export function encodeSeccompProgram(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, jumpTrue, jumpFalse, constant }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(constant >>> 0, index * 8 + 4);
  }
  return bytes;
}
