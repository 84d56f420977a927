#!/usr/bin/env bash
# Runs every test: unit, property, golden, API, real engine, front door; those whose subject is the engine twice, on the one at hand and on
# a current one. Ends with how many there were.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"; [ -z "${current:-}" ] || deploy/engine.sh second tests down' EXIT
export KUBECTL
KUBECTL=$(e2e/tools.sh kubectl)
e2e/tools.sh registry >/dev/null
e2e/tools.sh faults >/dev/null

name_engine() { docker version --format "on Docker {{.Server.Version}} (API {{.Server.APIVersion}}) ..."; }

# The program of the test target with this main file, as it was built for everything.
program() {
  cargo test --workspace --all-features --no-run --message-format=json 2>/dev/null |
    grep -F "\"src_path\":\"$PWD/$1\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# Runs a test program in its crate's folder $1 and in the network namespace of the current engine, where its containers' ports are.
again() {
  (cd "$1" && shift && DOCKER_HOST=$current nsenter --net="$namespace" "$@" --quiet 2>&1) | tee -a "$log" || status=$?
}

status=0
name_engine
cargo test --workspace --all-features --no-fail-fast --quiet 2>&1 | tee "$log" || status=$?

if current=$(deploy/engine.sh second tests --current); then
  namespace=$(deploy/engine.sh second tests netns)
  DOCKER_HOST=$current name_engine
  again src/engine "$(program src/engine/tests/real/main.rs)"
  # What these modules test is the same on every engine.
  again . "$(program tests/it/main.rs)" --skip cli:: --skip kubectl:: --skip start::
else
  echo "The tests of the engine were not run a second time, on a current one."
fi

# Words of `cargo test`: test result: ok. 72 passed; 0 failed; 0 ignored; ...
awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$log"
exit "$status"
