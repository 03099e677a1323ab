#!/usr/bin/env bash
# Schemathesis, installed once into target/services: requests made of the API's document.
#
# usage: schemathesis.sh install | run [OPTION…]
#   run       tries every operation of the document of the hub at HUB, as who has KEY (uuid:key)
#   SERVICES  where services are installed (target/services of this repository)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
FROM=$HERE/schemathesis
DIST=${SERVICES:-$ROOT/target/services}/schemathesis

install() {
  mkdir -p "$DIST"
  exec 9>"$DIST/.lock"
  flock 9
  local wanted
  wanted=$(cksum <"$FROM/requirements.txt")
  if [ "$wanted" != "$(cat "$DIST/.installed" 2>/dev/null)" ]; then
    python3 -m venv "$DIST/venv"
    "$DIST/venv/bin/pip" install --quiet --disable-pip-version-check -r "$FROM/requirements.txt" >&2
    printf '%s\n' "$wanted" >"$DIST/.installed"
  fi
  exec 9>&-
}

case ${1:-} in
  install) install ;;
  run)
    shift
    install
    # It keeps its own notes where it runs.
    cd "$(mktemp -d)"
    trap 'rm -rf "$PWD"' EXIT
    "$DIST/venv/bin/schemathesis" --config-file "$FROM/schemathesis.toml" run \
      --url "http://$HUB/" --auth "$KEY" "$@" "http://$HUB/openapi.json"
    ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
