#!/usr/bin/env bash
# CloudEvents' own SDKs as senders: npm's, PyPI's and Go's, each installed once into target/services.
#
# usage: senders.sh install SDK | send SDK          SDK: npm, pypi or go
#   send      sends the cases of standard input; prints the statuses of the answers as a JSON array
#   TARGET    where to send; AUTHORIZATION the header that says who sends
#   SERVICES  where services are installed (target/services of this repository)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
SDK=${2:-}
FROM=$HERE/senders/$SDK
DIST=${SERVICES:-$ROOT/target/services}/senders/$SDK

npm_install() {
  cp "$FROM"/package*.json "$DIST"
  (cd "$DIST" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
}

pypi_install() {
  python3 -m venv "$DIST/venv"
  "$DIST/venv/bin/pip" install --quiet --disable-pip-version-check -r "$FROM/requirements.txt" >&2
}

go_install() {
  # Modules are kept writable, so that the folder can be deleted as any other.
  (cd "$FROM" && GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw" \
    GOMODCACHE="$DIST/modules" GOCACHE="$DIST/cache" go build -o "$DIST/send" . >&2)
}

install() {
  mkdir -p "$DIST"
  # Tests that start at the same time install it once; what has changed is installed anew.
  exec 9>"$DIST/.lock"
  flock 9
  local wanted
  wanted=$(cat "$FROM"/* | cksum)
  if [ "$wanted" != "$(cat "$DIST/.installed" 2>/dev/null)" ]; then
    "${SDK}_install"
    printf '%s\n' "$wanted" >"$DIST/.installed"
  fi
  exec 9>&-
}

case ${1:-}/$SDK in
  install/npm | install/pypi | install/go) install ;;
  send/npm)
    install
    MODULES=$DIST/node_modules exec node "$FROM/send.mjs"
    ;;
  send/pypi)
    install
    exec "$DIST/venv/bin/python" "$FROM/send.py"
    ;;
  send/go)
    install
    exec "$DIST/send"
    ;;
  *)
    sed -n '2,7p' "$0" >&2
    exit 2
    ;;
esac
