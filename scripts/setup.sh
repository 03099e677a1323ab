#!/bin/sh
# Installs what the named step needs, once: `setup.sh run`, `setup.sh couchdb` or `setup.sh test`.
# Debian packages come by apt where root or sudo is there; otherwise it says what is missing.
set -eu

step=${1:?run, couchdb or test}
case $step in
  run) wanted="node:nodejs python3:python3 nft:nftables curl:curl cc:gcc" ;;
  couchdb) wanted="node:nodejs npm:npm python3:python3 nft:nftables curl:curl cc:gcc" ;;
  test) wanted="node:nodejs npm:npm python3:python3 nft:nftables ip:iproute2 setpriv:util-linux curl:curl cc:gcc" ;;
  *) echo "setup.sh: unknown step \`$step\` (known: run, couchdb, test)" >&2; exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=""
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done

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
