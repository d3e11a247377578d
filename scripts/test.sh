#!/bin/sh
# npm test: installs what is missing, then runs every test; arguments choose files by a part of their path.
set -eu
. "$(dirname -- "$0")/install.sh"
exec "$node" --disable-warning=ExperimentalWarning "$root/scripts/test.ts" "$@"
