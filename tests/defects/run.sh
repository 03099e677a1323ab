#!/bin/bash
# Plants each known defect into a copy of the workspace and wants the simulator to find it.
#
#   tests/defects/run.sh [--check] [NAME…]
#
# A defect is a patch of one line against a core: tests/defects/NAME.patch, whose head says what it
# breaks. --check only sees that each patch still applies. The copy and its build are under
# target/defects. SEEDS (500) bounds the seeds a defect may take to be found.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tree=$root/target/defects/tree
seeds=${SEEDS:-500}

check=
if [ "${1:-}" = --check ]; then check=1; shift; fi
if [ $# -eq 0 ]; then
  for patch in "$here"/*.patch; do set -- "$@" "$(basename "$patch" .patch)"; done
fi

if [ -n "$check" ]; then
  for name in "$@"; do
    (cd "$root" && git apply --check "$here/$name.patch") || { echo "$name does not apply" >&2; exit 1; }
  done
  exit 0
fi

# The copy is taken for a repository of nobody, so that git applies patches there by their paths.
export GIT_CEILING_DIRECTORIES=${tree%/*}
# What a defect changes is a line: most of what was built for the one before it is of use.
export CARGO_TARGET_DIR=$root/target/defects/build CARGO_INCREMENTAL=1

# Cores and simulator, and nothing else of the tests, so that a build is short.
mkdir -p "$tree"
tar -C "$root" -cf - --exclude=./target --exclude=./.git --exclude=./data . | tar -C "$tree" -xf -
# What an earlier run patched may be built with its defect: it counts as changed.
sed -n "s#^+++ b/#$tree/#p" "$here"/*.patch | sort -u | xargs touch
cp "$here/manifest.toml" "$tree/tests/Cargo.toml"
printf '%s\n' '//! The simulator alone.' 'pub mod simulator;' >"$tree/tests/src/lib.rs"

cd "$tree"
simulate() {
  echo "it does not build" >"$tree/out"
  cargo build --quiet --profile defects --config "$here/profile.toml" -p evoke-tests --bin simulate \
    2>>"$tree/out" || return
  "$CARGO_TARGET_DIR/defects/simulate" --from 0 --seeds "$seeds" --stop >"$tree/out" 2>&1
}

if ! simulate; then
  tail -n 80 "$tree/out" >&2
  echo "without any defect the simulator fails: there is nothing to learn from it" >&2
  exit 1
fi

missed=0
for name in "$@"; do
  git apply "$here/$name.patch"
  if simulate; then
    echo "MISSED  $name: $seeds seeds found nothing"
    missed=1
  elif grep -q 'BROKEN' "$tree/out"; then
    echo "found   $name: $(grep -m1 'BROKEN' "$tree/out" | cut -c1-150)"
  else
    echo "MISSED  $name: it does not build or run"
    tail -n 20 "$tree/out"
    missed=1
  fi
  git apply --reverse "$here/$name.patch"
done
exit $missed
