#!/bin/sh
# npm start: installs what is missing, then becomes the server (so that signals reach it).
set -eu
. "$(dirname -- "$0")/install.sh"

# Stripped and compiled code is kept between starts.
: "${NODE_COMPILE_CACHE:=$root/node_modules/.cache/node}"
export NODE_COMPILE_CACHE
exec "$node" --disable-warning=ExperimentalWarning "$root/packages/server/src/main.ts" "$@"
