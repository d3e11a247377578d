#!/bin/sh
# Builds one function from the toolkit folder that this file lies in: source on descriptor 0, program on descriptor 1,
# the compiler's words on descriptor 2. Ends with 65 where the source is at fault.
#
# The compiler and the linker are called themselves: the go command would want a writable cache, in which one function
# could leave something for another.
#
# Arguments: handler, language version, default GODEBUG, and "http" where the function may be an http.Handler.
set -u
handler=$1 language=$2 godebug=$3 form=$4
cd "${0%/*}" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# The compiler ends with 2 at errors; anything above is a signal.
blame() { [ "$1" -gt 2 ] && exit "$1"; exit 65; }

cat > "$work/handler.go" || exit 1
adapter=
[ "$form" = http ] && adapter='import _ "kubeserverless/shim/httphandler"'
# Programs for pods serve every gateway that dials.
place=
[ -n "${KS_FOR_POD:-}" ] && place='import _ "kubeserverless/shim/pod"'
printf '%s\n' \
  '//line kubeserverless_handler.go:1' \
  'package function' \
  'import kubeserverlessStart "kubeserverless/shim/start"' \
  "$adapter" \
  "$place" \
  "func init() { kubeserverlessStart.Register($handler) }" > "$work/kubeserverless_handler.go" || exit 1
{ cat importcfg.link && echo "packagefile function=$work/function.a"; } > "$work/importcfg.link" || exit 1

./compile -o "$work/function.a" -p function -lang "$language" -complete -pack -c 2 -importcfg importcfg.compile -trimpath "$work" \
  "$work/handler.go" "$work/kubeserverless_handler.go" >&2 || blame $?
./compile -o "$work/main.a" -p main -complete -pack -importcfg "$work/importcfg.link" main.go >&2 || exit 1
./link -o "$work/handler" -importcfg "$work/importcfg.link" -buildmode exe -linkmode internal -s -w \
  -X "runtime.godebugDefault=$godebug" "$work/main.a" >&2 || blame $?
cat "$work/handler"
