#!/bin/sh
# npm start: installs what is missing, then becomes the server (so that signals reach it).
set -eu
. "$(dirname -- "$0")/install.sh"

# Stripped and compiled code is kept between starts.
: "${NODE_COMPILE_CACHE:=$root/node_modules/.cache/node}"
export NODE_COMPILE_CACHE
# Calls leave garbage that dies at once. The young generation grows too slowly by itself: collecting it took a quarter of the CPU time.
exec "$node" --min-semi-space-size=16 --disable-warning=ExperimentalWarning "$root/packages/server/src/main.ts" "$@"
