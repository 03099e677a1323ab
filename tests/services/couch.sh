#!/usr/bin/env bash
# A server that speaks CouchDB's protocol, on loopback: npm's pouchdb-server, installed once into target/services.
#
# usage: couch.sh install | start | stop [keep] | status
#   COUCH_PORT  port (5985)                 COUCH_RUN   folder of its data (a folder of the port in /tmp)
#   COUCH_USER  administrator (admin); empty: everybody is one        COUCH_PASS  its password (secret)
#   SERVICES    where services are installed (target/services of this repository)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
DIST=${SERVICES:-$ROOT/target/services}/couch
PORT=${COUCH_PORT:-5985}
RUN=${COUCH_RUN:-/tmp/evoke-couch-$PORT}
USER_NAME=${COUCH_USER-admin} PASSWORD=${COUCH_PASS:-secret}
VERSION=4.2.0

install() {
  mkdir -p "$DIST"
  # Tests that start at the same time install it once.
  exec 9>"$DIST/.lock"
  flock 9
  if ! [ -e "$DIST/.installed-$VERSION" ]; then
    (cd "$DIST" && { [ -e package.json ] || npm init -y >/dev/null; } &&
      npm install --ignore-scripts --no-audit --no-fund --loglevel=error "pouchdb-server@$VERSION" >&2)
    touch "$DIST/.installed-$VERSION"
  fi
  exec 9>&-
}

start() {
  install
  mkdir -p "$RUN/data"
  cd "$RUN"
  local admins=
  [ -z "$USER_NAME" ] || admins="\"admins\": {\"$USER_NAME\": \"$PASSWORD\"},"
  cat >config.json <<CONFIG
{ $admins
  "httpd": {"port": $PORT, "bind_address": "127.0.0.1"},
  "log": {"file": "$RUN/log.txt", "level": "warning"} }
CONFIG
  setsid node -r "$HERE/couch/keepalive.cjs" "$DIST/node_modules/.bin/pouchdb-server" \
    --dir "$RUN/data" --host 127.0.0.1 --port "$PORT" --config "$RUN/config.json" --no-stdout-logs \
    >"$RUN/out.log" 2>&1 </dev/null &
  echo $! >"$RUN/pid"
  local tries
  for tries in $(seq 300); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
      echo "ready on 127.0.0.1:$PORT, process $(cat "$RUN/pid")"
      return 0
    fi
    kill -0 "$(cat "$RUN/pid")" 2>/dev/null || break
    sleep 0.1
  done
  tail -20 "$RUN/out.log" >&2
  return 1
}

stop() {
  if [ -e "$RUN/pid" ]; then
    local pid tries
    pid=$(cat "$RUN/pid")
    kill "$pid" 2>/dev/null || true
    for tries in $(seq 20); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  if [ "${1:-}" = keep ]; then rm -f "$RUN/pid"; else rm -rf "$RUN"; fi
}

case ${1:-} in
install) install ;;
start) start ;;
stop) stop "${2:-}" ;;
status) kill -0 "$(cat "$RUN/pid" 2>/dev/null)" 2>/dev/null && grep -E 'VmRSS|VmHWM' "/proc/$(cat "$RUN/pid")/status" ;;
*)
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
  ;;
esac
