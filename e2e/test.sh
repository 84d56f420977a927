#!/usr/bin/env bash
# Runs every test: unit, property, golden, API, real engine, front door. Ends with how many there were.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export KUBECTL
KUBECTL=$(e2e/tools.sh kubectl)

status=0
cargo test --workspace --all-features --quiet 2>&1 | tee "$log" || status=$?
# Words of `cargo test`: test result: ok. 72 passed; 0 failed; 0 ignored; ...
awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$log"
exit "$status"
