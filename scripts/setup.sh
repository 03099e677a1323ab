#!/bin/sh
# Installs what the named step needs, once: `setup.sh run`, `couchdb`, `kafka`, `deb` or `test`.
# Debian packages come by apt where root or sudo is there; otherwise it says what is missing.
set -eu

step=${1:?run, couchdb, kafka, deb or test}
# What builds the hub: librdkafka is C, made by cmake over OpenSSL and zlib.
build="cc:gcc c++:g++ cmake:cmake make:make pkg-config:pkg-config"
run="node:nodejs python3:python3 nft:nftables curl:curl"
kafka="java:openjdk-17-jdk-headless mvn:maven openssl:openssl kcat:kcat"
deb="dpkg-shlibdeps:dpkg-dev debootstrap:debootstrap setpriv:util-linux"
case $step in
  run) wanted="$build $run" ;;
  couchdb) wanted="$build $run npm:npm" ;;
  kafka) wanted="$build $run $kafka" ;;
  deb) wanted="$build $deb" ;;
  test) wanted="$build $run $kafka $deb npm:npm go:golang-go ip:iproute2 setpriv:util-linux git:git perl:perl" ;;
  *) echo "setup.sh: unknown step \`$step\` (known: run, couchdb, kafka, deb, test)" >&2; exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=""
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done

# Headers have no command to look for. librdkafka includes curl's even where it is built without it.
for header in openssl/ssl.h:libssl-dev zlib.h:zlib1g-dev curl/curl.h:libcurl4-openssl-dev; do
  find /usr/include /usr/local/include -path "*/${header%%:*}" 2>/dev/null | grep -q . || missing="$missing ${header#*:}"
done

# Debian's Python makes no environments of its own without this package.
if [ "$step" = test ] && ! python3 -c "import ensurepip" 2>/dev/null; then
  missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: please install:$missing" >&2
    exit 1
  fi
  if [ "$(id -u)" = 0 ]; then as=""
  elif command -v sudo >/dev/null 2>&1; then as=sudo
  else
    echo "setup: these Debian packages are missing:$missing" >&2
    echo "setup: install them as root: apt-get install$missing" >&2
    exit 1
  fi
  echo "setup: installing$missing"
  $as apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $as apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "setup: no \`cargo\` found: install a Rust toolchain (1.95 or later), then try again" >&2
  exit 1
fi

# The one tool that no Debian package has.
if [ "$step" = deb ] && ! cargo deb --version >/dev/null 2>&1; then
  echo "setup: building cargo-deb, once"
  cargo install --quiet --locked cargo-deb --version 3.8.0
fi
