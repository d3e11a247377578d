#!/bin/sh
# The entry point of a Node.js pod: V8 fixes its heap at start, so its flags come from the memory class KS_MEMORY_MIB.
# The same as nodeFlags of the server (packages/server/src/instances/local/runtimes/language.ts).
set -eu
mib=${KS_MEMORY_MIB:-256}
if [ "$mib" -le 512 ]; then old=$((mib * 625 / 1000)); else old=$((mib * 8 / 10)); fi
[ "$old" -ge 24 ] || old=24
if [ "$mib" -le 128 ]; then semi=1; elif [ "$mib" -le 512 ]; then semi=4; else semi=16; fi
set -- "--max-old-space-size=$old" "--max-semi-space-size=$semi" --experimental-vm-modules --no-warnings
[ "$mib" -gt 512 ] || set -- "$@" --v8-pool-size=1
exec "${KS_PROGRAM:-node}" "$@" "${0%/*}/main.js"
