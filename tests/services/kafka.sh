#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft) on loopback; its jars are fetched once into target/services.
#
# usage: kafka.sh install | start | stop [keep] | kill | status | tool CLASS ARGUMENT…
#   KAFKA_PORT  port (9092)      KAFKA_RUN  folder of its data (a folder of the port in /tmp)
#   KAFKA_VOTERS, KAFKA_NODE     of more than one node: all of them, as 1@127.0.0.1:PORT,2@…, and which this is;
#                                then nodes start together, and each has a copy of everything
#   SERVICES    where services are installed (target/services of this repository)
# Beside the port it speaks SASL_SSL on the port that stands in $KAFKA_RUN/sasl-port: PLAIN and SCRAM (alice,
# alice-secret), and OAUTHBEARER with unsigned tokens. Its authority is in $KAFKA_RUN/certs/ca.pem.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
DIST=${SERVICES:-$ROOT/target/services}/kafka
PORT=${KAFKA_PORT:-9092}
RUN=${KAFKA_RUN:-/tmp/evoke-kafka-$PORT}
NODE=${KAFKA_NODE:-1}
VOTERS=${KAFKA_VOTERS:-}
VERSION=3.9.1
CLUSTER=MkU3OEVBNTcwNTJENDM2Qg

install() {
  mkdir -p "$DIST"
  # Tests that start at the same time install it once.
  exec 9>"$DIST/.lock"
  flock 9
  if ! [ -e "$DIST/.installed-$VERSION" ]; then
    cp "$HERE/kafka/pom.xml" "$DIST/"
    (cd "$DIST" && mvn -q -B -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime >&2)
    touch "$DIST/.installed-$VERSION"
  fi
  exec 9>&-
}

# A port that was free and stays this folder's own: none that an outgoing connection may take meanwhile.
port_of() {
  [ -e "$RUN/$1" ] || python3 - >"$RUN/$1" <<'PYTHON'
import random, socket
while True:
    port = random.randrange(20000, 32000)
    try:
        socket.socket().bind(("127.0.0.1", port))
        break
    except OSError:
        pass
print(port)
PYTHON
  cat "$RUN/$1"
}

certificates() {
  local c=$RUN/certs
  [ -e "$c/server.p12" ] && return
  mkdir -p "$c"
  {
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test-ca -keyout "$c/ca.key" -out "$c/ca.pem"
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$c/server.key" -out "$c/server.csr"
    openssl x509 -req -in "$c/server.csr" -CA "$c/ca.pem" -CAkey "$c/ca.key" -CAcreateserial -days 30 \
      -out "$c/server.pem" -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    openssl pkcs12 -export -in "$c/server.pem" -inkey "$c/server.key" -certfile "$c/ca.pem" -name kafka \
      -out "$c/server.p12" -passout pass:changeit
  } 2>/dev/null
}

configure() {
  local control sasl voters copies least
  sasl=$(port_of sasl-port)
  if [ -n "$VOTERS" ]; then
    voters=$VOTERS control=${VOTERS##*"$NODE@127.0.0.1:"} control=${control%%,*} copies=3 least=2
  else
    control=$(port_of control-port) voters=$NODE@127.0.0.1:$control copies=1 least=1
  fi
  certificates
  cat >"$RUN/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$NODE
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$control,SASL_SSL://127.0.0.1:$sasl
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT,SASL_SSL://127.0.0.1:$sasl
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
ssl.keystore.type=PKCS12
ssl.keystore.location=$RUN/certs/server.p12
ssl.keystore.password=changeit
ssl.client.auth=none
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
log.dirs=$RUN/data
num.partitions=1
default.replication.factor=$copies
min.insync.replicas=$least
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=$copies
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=true
message.max.bytes=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=4194304
PROPERTIES
  cat >"$RUN/log4j.properties" <<'PROPERTIES'
log4j.rootLogger=WARN, F
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.F=org.apache.log4j.ConsoleAppender
log4j.appender.F.layout=org.apache.log4j.PatternLayout
log4j.appender.F.layout.ConversionPattern=[%d] %p %m (%c)%n
PROPERTIES
}

tool() {
  java -Xmx128m -Dlog4j.configuration="file:$RUN/log4j.properties" -cp "$DIST/libs/*:$RUN" "$@"
}

start() {
  install
  mkdir -p "$RUN"
  if [ -e "$RUN/pid" ] && kill -0 "$(cat "$RUN/pid")" 2>/dev/null; then return 0; fi
  configure
  if [ ! -e "$RUN/data/meta.properties" ]; then
    tool kafka.tools.StorageTool format -t $CLUSTER -c "$RUN/server.properties" \
      --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]' \
      --add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]' >"$RUN/format.log" 2>&1
  fi
  : >"$RUN/server.log"
  setsid java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j.configuration="file:$RUN/log4j.properties" -cp "$DIST/libs/*:$RUN" \
    kafka.Kafka "$RUN/server.properties" >"$RUN/server.log" 2>&1 </dev/null &
  echo $! >"$RUN/pid"
  local tries
  for tries in $(seq 600); do
    if grep -q 'Kafka Server started' "$RUN/server.log"; then
      echo "ready on 127.0.0.1:$PORT, process $(cat "$RUN/pid")"
      return 0
    fi
    kill -0 "$(cat "$RUN/pid")" 2>/dev/null || break
    sleep 0.1
  done
  tail -20 "$RUN/server.log" >&2
  return 1
}

stop() {
  if [ -e "$RUN/pid" ]; then
    local pid tries
    pid=$(cat "$RUN/pid")
    kill "$pid" 2>/dev/null || true
    for tries in $(seq 150); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$RUN/pid"
  fi
  [ "${1:-}" = keep ] || rm -rf "$RUN"
}

# At once, as a machine goes; its data stays.
crash() {
  kill -9 "$(cat "$RUN/pid")"
  rm -f "$RUN/pid"
}

case ${1:-} in
  install) install ;;
  start) start ;;
  stop) stop "${2:-}" ;;
  kill) crash ;;
  status) kill -0 "$(cat "$RUN/pid" 2>/dev/null)" 2>/dev/null && echo "running on 127.0.0.1:$PORT" ;;
  tool) shift; tool "$@" ;;
  *) echo "usage: kafka.sh install | start | stop [keep] | kill | status | tool CLASS ARGUMENT…" >&2; exit 2 ;;
esac
