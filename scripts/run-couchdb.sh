#!/usr/bin/env bash
# The CouchDB example: starts a server that speaks its protocol, registers the feed, changes a document each
# second and shows the activations. Ctrl-C ends it all.
#
# usage: run-couchdb.sh PROGRAM DATA HOST:PORT
set -euo pipefail
PROGRAM=${1:?the program} DATA=${2:?a data directory} LISTEN=${3:?an address}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$DATA"
COUCH_RUN=$(cd "$DATA" && pwd)/couch
export COUCH_RUN COUCH_PORT=5985
URL=http://admin:secret@127.0.0.1:$COUCH_PORT/stock

"$ROOT/tests/services/couch.sh" start >/dev/null
writer=
finish() {
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  "$ROOT/tests/services/couch.sh" stop keep
}
trap finish EXIT
# Ctrl-C is the hub's, which drains; this script goes on to clean up after it.
trap : INT
curl -s -o /dev/null -X PUT "$URL"

change() {
  trap - INT EXIT
  local fruit=(apple pear plum) count=0 id rev
  while sleep 1; do
    id=${fruit[count % 3]} count=$((count + 1))
    rev=$(curl -s "$URL/$id" | sed -n 's/.*"_rev":"\([^"]*\)".*/"_rev":"\1",/p')
    curl -s -o /dev/null -X PUT "$URL/$id" -H 'content-type: application/json' -d "{$rev\"count\":$count}"
  done
}
change </dev/null &
writer=$!

echo "CouchDB's protocol is spoken at http://127.0.0.1:$COUCH_PORT (admin, secret); a document of \`stock\` changes each second."
echo "Its feed: $PROGRAM feed get stock --data $DATA"
"$PROGRAM" up --data "$DATA" --listen "$LISTEN" --log-level warn --apply "$ROOT/examples/couchdb/manifest.yaml" --follow
