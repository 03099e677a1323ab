#!/usr/bin/env bash
# OpenWhisk's client for Node.js, npm's `openwhisk`, installed once into target/services.
#
# usage: clients.sh install | call JSON
#   call      runs steps [[resource, method, options], …] and prints their outcomes as a JSON array
#   API_HOST  the hub's address; API_KEY its credential
#   SERVICES  where services are installed (target/services of this repository)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
DIST=${SERVICES:-$ROOT/target/services}/clients
VERSION=3.21.9

install() {
  mkdir -p "$DIST"
  # Tests that start at the same time install it once.
  exec 9>"$DIST/.lock"
  flock 9
  if ! [ -e "$DIST/.installed-$VERSION" ]; then
    (cd "$DIST" && { [ -e package.json ] || npm init -y >/dev/null; } &&
      npm install --ignore-scripts --no-audit --no-fund --loglevel=error "openwhisk@$VERSION" >&2)
    touch "$DIST/.installed-$VERSION"
  fi
  exec 9>&-
}

case ${1:-} in
  install) install ;;
  call)
    install
    NODE_PATH=$DIST/node_modules exec node "$HERE/clients/call.cjs" "$2"
    ;;
  *)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
