#!/usr/bin/env bash
# The package on a fresh Debian 12: installed, started as its unit says, an event delivered, a backup
# restored elsewhere, a former version's directory opened, purged.
#
# usage: debian.sh PACKAGE.deb
#   CACHE   where the fresh system is kept between runs (target/debian of this repository)
#
# Needs root and debootstrap. All of it happens in namespaces of its own, which end with it: a
# temporary root folder, its own processes. The hub listens on loopback.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SUITE=bookworm

say() { printf 'debian.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- Outside: a fresh system ---------------------------------------------------------------------

# Lines "address suite" of this machine's own sources of Debian.
sources() {
  apt-get indextargets --format '$(ORIGIN) $(CREATED_BY) $(REPO_URI) $(RELEASE)' |
    awk -v suite="$SUITE" '$1 == "Debian" && $2 == "Packages" && index($4, suite) == 1 { print $3, $4 }' | sort -u
}

fresh_system() {
  local archive=$CACHE/$SUITE.tar mirror
  if ! [ -s "$archive" ]; then
    mirror=$(sources | awk -v suite="$SUITE" '$2 == suite { print $1; exit }')
    [ -n "$mirror" ] || die "this machine has no apt source of $SUITE to make a fresh system from"
    say "making a fresh system (kept in $CACHE)"
    debootstrap --variant=minbase "$SUITE" "$ROOM/root" "$mirror" >"$ROOM/debootstrap.log" 2>&1 ||
      { tail -n 20 "$ROOM/debootstrap.log" >&2; die "debootstrap failed"; }
    tar -C "$ROOM/root" -cf "$archive.part" .
    mv "$archive.part" "$archive"
  else
    mkdir "$ROOM/root"
    tar -C "$ROOM/root" -xf "$archive"
  fi
  sources | sed 's/\(.*\) \(.*\)/deb \1 \2 main/' >"$ROOM/root/etc/apt/sources.list"
  apt-config dump | grep -E '^Acquire::https?::Proxy' >"$ROOM/root/etc/apt/apt.conf.d/90proxy" || true
  echo 'APT::Keep-Downloaded-Packages "true";' >"$ROOM/root/etc/apt/apt.conf.d/91keep"
  cp /etc/resolv.conf /etc/hosts "$ROOM/root/etc/"
}

outside() {
  local package=$1
  CACHE=${CACHE:-$HERE/../target/debian}
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "needs root: run it as root"
    exec sudo ${CACHE:+CACHE="$CACHE"} "${BASH_SOURCE[0]}" "$package"
  fi
  [ -f "$package" ] || die "there is no package $package"
  mkdir -p "$CACHE/archives"
  CACHE=$(cd "$CACHE" && pwd)
  ROOM=$(mktemp -d "${TMPDIR:-/tmp}/evoke-debian-XXXXXX")
  trap 'rm -rf --one-file-system "$ROOM"' EXIT
  fresh_system
  mkdir -p "$ROOM/root/test/fixtures"
  cp "$package" "$ROOM/root/test/evoke.deb"
  cp -r "$HERE/fixtures/." "$ROOM/root/test/fixtures/"
  cp "${BASH_SOURCE[0]}" "$ROOM/root/test/debian.sh"
  # Its own root by pivot_root: whoever is only in a chroot may not make user namespaces.
  unshare --mount --propagation private --pid --fork --kill-child bash -c '
    set -e
    mount --bind "$1" "$1"
    mount --bind "$2/archives" "$1/var/cache/apt/archives"
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
    cd "$1"
    mkdir .former
    pivot_root . .former
    umount -l /.former
    rmdir /.former
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash /test/debian.sh --inside
  ' bash "$ROOM/root" "$CACHE"
  say "good"
}

# --- Inside: what a user does ---------------------------------------------------------------------

CONFIG=/etc/evoke/evoke.toml
UNIT=/lib/systemd/system/evoke.service

# The value of a key of the unit.
unit() { sed -n "s/^$1=//p" "$UNIT" | tail -n 1; }

# Sets a key of the configuration, as an operator edits it.
set_key() {
  sed -i "/^#\?$1 = /d" "$CONFIG"
  printf '%s = %s\n' "$1" "$2" >>"$CONFIG"
}

start() {
  evoke config check --config "$CONFIG" >/dev/null
  if [ -d /run/systemd/system ]; then
    systemctl start evoke
  else
    local user
    user=$(unit User)
    # What the unit says of user, privileges and command.
    # shellcheck disable=SC2046
    env -i PATH="$PATH" LANG=C.UTF-8 setpriv --reuid "$user" --regid "$(unit Group)" --init-groups \
      --no-new-privs --inh-caps=-all --bounding-set=-all $(unit ExecStart) >>/test/hub.log 2>&1 &
    HUB=$!
  fi
  wait_for 60 "the hub to be ready" curl -sf "$URL/readyz"
}

stop() {
  if [ -d /run/systemd/system ]; then
    systemctl stop evoke
  else
    kill -TERM "$HUB"
    wait "$HUB" || die "the hub ended with $?"
    HUB=
  fi
}

# Tries until the command succeeds, at most so many seconds.
wait_for() {
  local seconds=$1 what=$2 until=$((SECONDS + $1))
  shift 2
  until "$@" >/test/last 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then
      tail -n 30 /test/hub.log /test/last >&2
      die "waited $seconds s for $what"
    fi
    sleep 0.2
  done
}

# A hub's client on the directory that the configuration names.
client() { evoke "$@" --data "$DATA"; }

# Posts a CloudEvent of type greeting with this id.
send() {
  curl -sf -u "$(cat "$DATA/credentials")" "$URL/api/v1/namespaces/_/events" \
    -H 'ce-specversion: 1.0' -H "ce-id: $1" -H 'ce-source: /debian' -H 'ce-type: greeting' \
    -H 'content-type: application/json' -d "{\"name\": \"$1\"}"
}

# Whether the action has a successful record with this in its result.
ran() {
  curl -sf -u "$(cat "$DATA/credentials")" \
    "$URL/api/v1/namespaces/_/activations?docs=true&limit=200&name=$1" >/test/list || return 1
  python3 -c '
import json, sys
action, wanted = sys.argv[1:]
runs = json.load(open("/test/list"))
good = [run for run in runs if run["response"]["success"] and wanted in json.dumps(run["response"]["result"])]
sys.exit(None if good else f"{action}: no record with {wanted} among {len(runs)}")
' "$1" "$2"
}

use_directory() {
  DATA=$1
  set_key data "\"$DATA\""
}

inside() {
  trap '[ -z "${HUB:-}" ] || kill -KILL "$HUB" 2>/dev/null || true' EXIT
  export DEBIAN_FRONTEND=noninteractive
  say "installing"
  apt-get update -qq
  apt-get install -y -qq curl /test/evoke.deb >/test/apt.log 2>&1 ||
    { tail -n 30 /test/apt.log >&2; die "the package cannot be installed"; }
  [ -f "$UNIT" ] || UNIT=/usr$UNIT
  getent passwd evoke >/dev/null || die "the package makes no user"
  [ "$(stat -c '%U %a' /var/lib/evoke)" = "evoke 700" ] || die "/var/lib/evoke: $(stat -c '%U %a' /var/lib/evoke)"
  grep -qx /etc/evoke/evoke.toml /var/lib/dpkg/info/evoke.conffiles || die "evoke.toml is no conffile"
  evoke --version >/dev/null

  local port
  port=$((20000 + RANDOM % 10000))
  while (: </dev/tcp/127.0.0.1/$port) 2>/dev/null; do port=$((port + 1)); done
  URL=http://127.0.0.1:$port
  set_key listen "\"127.0.0.1:$port\""
  set_key log-age 1000000
  set_key activation-age 1000000
  use_directory /var/lib/evoke

  say "the first event"
  start
  printf 'function main({ name }) { return { greeting: `Hello, ${name}` } }\n' >/test/hello.js
  printf 'def main(args):\n    return {"greeting": "Hello, " + args["name"]}\n' >/test/hello.py
  client action create hello /test/hello.js >/dev/null
  client action create bonjour /test/hello.py >/dev/null
  client trigger create greetings --subscribe type=greeting >/dev/null
  client rule create greet-hello greetings hello >/dev/null
  client rule create greet-bonjour greetings bonjour >/dev/null
  send first >/dev/null
  wait_for 60 "the JavaScript function" ran hello "Hello, first"
  wait_for 60 "the Python function" ran bonjour "Hello, first"
  [ "$(stat -c %U /var/lib/evoke/log)" = evoke ] || die "the hub does not run as its own user"

  say "backup and restore"
  client backup /test/backup.tar.gz
  send second >/dev/null
  wait_for 60 "the event after the backup" ran hello "Hello, second"
  stop
  install -d -m 0700 -o evoke -g evoke /var/lib/evoke-restored
  evoke restore /test/backup.tar.gz --data /var/lib/evoke-restored
  use_directory /var/lib/evoke-restored
  start
  ran hello "Hello, first" || die "the restored directory lacks a record"
  if ran hello "Hello, second" 2>/dev/null; then die "the backup has what came after it"; fi
  send third >/dev/null
  wait_for 60 "an event on the restored directory" ran hello "Hello, third"
  stop

  local fixture
  for fixture in /test/fixtures/*/data.tar.gz; do
    say "upgrade of $(basename "$(dirname "$fixture")")"
    rm -rf /test/former
    mkdir /test/former
    tar -C /test/former -xzf "$fixture"
    chown -R evoke:evoke /test/former
    chmod 0700 /test/former/data
    rm -rf /var/lib/evoke-former
    mv /test/former/data /var/lib/evoke-former
    use_directory /var/lib/evoke-former
    start
    ran echo '"number": 4' || die "a former record is missing"
    wait_for 60 "what was not delivered" ran held '"number": 7'
    stop
  done

  say "purge"
  apt-get purge -y -qq evoke >/test/apt.log 2>&1 || { tail -n 30 /test/apt.log >&2; die "it cannot be purged"; }
  [ ! -e /var/lib/evoke ] || die "purging leaves /var/lib/evoke"
  if getent passwd evoke >/dev/null; then die "purging leaves the user"; fi
}

case ${1:-} in
  --inside) inside ;;
  '' | -*) sed -n '2,9p' "$0" >&2; exit 2 ;;
  *) outside "$1" ;;
esac
