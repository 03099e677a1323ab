#!/usr/bin/env bash
# The Kafka example: starts a broker, registers the feed, produces a record each second and shows the
# activations. Ctrl-C ends it all.
#
# usage: run-kafka.sh PROGRAM DATA HOST:PORT
set -euo pipefail
PROGRAM=${1:?the program} DATA=${2:?a data directory} LISTEN=${3:?an address}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$DATA"
KAFKA_RUN=$(cd "$DATA" && pwd)/kafka
export KAFKA_RUN KAFKA_PORT=9092

echo "Starting Apache Kafka (the first time its jars are fetched) ..."
"$ROOT/tests/services/kafka.sh" start >/dev/null
writer=
finish() {
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  "$ROOT/tests/services/kafka.sh" stop keep
}
trap finish EXIT
# Ctrl-C is the hub's, which drains; this script goes on to clean up after it.
trap : INT

orders() {
  trap - INT EXIT
  local fruit=(apple pear plum) count=0
  while sleep 1; do
    count=$((count + 1))
    # One producer for each record: kcat waits for more of them as long as its input is open.
    echo "${fruit[count % 3]}:{\"order\":$count,\"fruit\":\"${fruit[count % 3]}\"}" |
      kcat -P -b "127.0.0.1:$KAFKA_PORT" -t orders -K: 2>/dev/null || true
  done
}
orders </dev/null >/dev/null &
writer=$!

echo "Kafka is at 127.0.0.1:$KAFKA_PORT; an order comes each second in the topic \`orders\`."
echo "Its feed: $PROGRAM feed get orders --data $DATA"
"$PROGRAM" up --data "$DATA" --listen "$LISTEN" --log-level warn --apply "$ROOT/examples/kafka/manifest.yaml" --follow
