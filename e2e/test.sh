#!/usr/bin/env bash
# Runs every test: unit, property, golden, API, real engine, front door, a soak; those whose subject is the engine twice, on the one at hand
# and on a current one. Two long programs run side by side, because each waits for its engine half of the time. What fails is printed whole,
# of everything else a line; ends with how many there were.
#
#   e2e/test.sh          everything
#   e2e/test.sh quick    without the long programs and the soak
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

# No program needs more, on any machine: what takes longer hangs.
limit=15m
results=$(mktemp -d)
tidy() {
  jobs -p | xargs -r kill 2>/dev/null || true
  [ ! -e "$results/second" ] || deploy/engine.sh second tests down
  rm -rf "$results"
}
trap tidy EXIT

# Cargo takes over what another checkout built in the same folder, with the paths of that one in it. Then ours is built anew.
mine() {
  local mark=$CARGO_TARGET_DIR/checkout
  [ "$(cat "$mark" 2>/dev/null)" != "$root" ] || return 0
  find src tests e2e benches -name '*.rs' -exec touch {} +
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$root" >"$mark"
}

# Builds everything, and says of each test program: the file with its main function, its crate's folder, where it lies.
build() {
  cargo build --workspace --all-features --lib --bins --tests --message-format=json-render-diagnostics |
    sed -n "s#.*\"manifest_path\":\"\(.*\)/Cargo.toml\",.*\"src_path\":\"$root/\([^\"]*\)\".*\"profile\":{[^}]*\"test\":true}.*\"executable\":\"\([^\"]*\)\".*#\2 \1 \3#p" | sort
}

# Runs command $3… in folder $2 as $1. What it prints goes into a file: a process that it leaves behind may keep that open, and nobody waits.
run() {
  local name=$1 folder=$2 from=$SECONDS status=0
  shift 2
  local log=$results/${name//[^a-z0-9]/-}.log
  (cd "$folder" && exec timeout --kill-after=10 "$limit" "$@") >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" != 0 ]; then
    : >"$results/failed"
    cat "$log"
    [ "$status" != 124 ] || echo "$name was ended: it did not end by itself within $limit."
  fi
  printf '%5d s  %s%s\n' $((SECONDS - from)) "$name" "$([ "$status" = 0 ] || echo ": failed")"
}

# Runs the test program of the file $1, with arguments.
program() {
  local file=$1 folder path
  shift
  read -r folder path < <(sed -n "s#^$file ##p" <<<"$built") || { echo "there is no test program $file"; : >"$results/failed"; return; }
  run "$file" "$folder" "$path" "$@"
}

# The same on the current engine, in the network namespace where its containers' ports are.
program_on_current() {
  local file=$1 folder path
  shift
  read -r folder path < <(sed -n "s#^$file ##p" <<<"$built")
  run "$file (Docker $version)" "$folder" nsenter --net="$(deploy/engine.sh second tests netns)" env DOCKER_HOST="$current" "$path" "$@"
}

echo "Building ..."
mine
built=$(build)
run "generated files" . env CLOS="$CARGO_TARGET_DIR/debug/clos" e2e/generated.sh check
run "examples in the documentation" . cargo test --workspace --all-features --doc --quiet

long=" tests/it/main.rs tests/host/main.rs tests/crashes/main.rs tests/engine_faults/main.rs tests/backup/main.rs src/engine/tests/real/main.rs "
while read -r file _; do
  [[ $long == *" $file "* ]] || program "$file"
done <<<"$built"

if [ "${1:-}" != quick ]; then
  export KUBECTL
  KUBECTL=$(e2e/tools.sh kubectl)
  e2e/tools.sh registry >/dev/null
  e2e/tools.sh faults >/dev/null
  docker version --format "On Docker {{.Server.Version}} (API {{.Server.APIVersion}}) ..."
  {
    program src/engine/tests/real/main.rs
    program tests/it/main.rs
    program tests/backup/main.rs
    program tests/crashes/main.rs
    # What the skipped modules test is the same on every engine.
    : >"$results/second"
    if current=$(deploy/engine.sh second tests --current); then
      version=$(DOCKER_HOST=$current docker version --format '{{.Server.Version}}')
      program_on_current src/engine/tests/real/main.rs
      program_on_current tests/it/main.rs --skip cli:: --skip kubectl:: --skip start::
      deploy/engine.sh second tests down
    else
      echo "The tests of the engine were not run a second time, on a current one."
    fi
  } &
  one=$!
  {
    program tests/engine_faults/main.rs
    program tests/host/main.rs
    # Only root can make an engine that may be harmed, too.
    run "soak" . "$CARGO_TARGET_DIR/debug/clos-soak" --seed 1 --minutes "${MINUTES:-5}" --engine "$([ "$(id -u)" = 0 ] && echo second || echo default)"
  } &
  two=$!
  wait "$one" "$two"
fi

# Words of `cargo test`: test result: ok. 72 passed; 0 failed; 0 ignored; ...
cat "$results"/*.log | awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }'
[ ! -e "$results/failed" ]
