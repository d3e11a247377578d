#!/bin/sh
# Runs a script, or the JavaScript entry of an installed package, with the Node.js that the server runs on.
set -eu
. "$(dirname -- "$0")/install.sh"
exec "$node" --disable-warning=ExperimentalWarning "$@"
