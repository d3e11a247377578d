#!/bin/sh
# npm run test:faults: the fault suites in their full volume, one file after the other; takes more than an hour. See test/README.md.
set -eu
. "$(dirname -- "$0")/install.sh"
cd "$root"
export KS_FAULTS=full
exec "$node" --disable-warning=ExperimentalWarning --test --test-concurrency=1 \
  'test/integration/**/*kill*.test.ts' 'test/integration/**/kill/*.test.ts' \
  'test/integration/**/*fault*.test.ts' 'test/integration/**/*fuzz*.test.ts' 'test/integration/**/planted-bugs.test.ts' "$@"
