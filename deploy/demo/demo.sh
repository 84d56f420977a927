#!/usr/bin/env bash
# The demo: an engine, a build, `clos serve` on deploy/examples/shop, a kill and a removal, how fast each was repaired.
#
#   deploy/demo/demo.sh up      shows it and leaves it running
#   deploy/demo/demo.sh down    stops it and removes everything it made
set -euo pipefail
cd "$(dirname "$0")/../.."

state=${CLOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clos}/demo
target=${CARGO_TARGET_DIR:-target}
clos=$target/debug/clos
kubeconfig=$state/kubeconfig
listen=${CLOS_DEMO_LISTEN:-127.0.0.1:8081}

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
nanoseconds() { date -d "$1" +%s%N; }
running() { [ -f "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null; }

# How long after $1 (nanoseconds) the container named $2 was started by the engine's own clock, in ms; waits for it.
repaired_after() {
  for _ in $(seq 600); do
    started=$(docker inspect -f '{{if .State.Running}}{{.State.StartedAt}}{{end}}' "$2" 2>/dev/null || true)
    if [ -n "$started" ] && [ "$(nanoseconds "$started")" -gt "$1" ]; then
      echo $((($(nanoseconds "$started") - $1) / 1000000)); return
    fi
    sleep 0.05
  done
  fail "container $2 is not back after 30 s; see $state/clos.log"
}

up() {
  running && fail "The demo runs already (pid $(cat "$state/pid")). Stop it with: make demo-down"
  command -v cargo >/dev/null || fail "Rust is needed to build clos: install it from rustup.rs."
  begin=$SECONDS
  deploy/engine.sh up
  say "engine    $(docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})')   $((SECONDS - begin)) s"
  begin=$SECONDS
  cargo build --quiet --bin clos
  say "build     $clos   $((SECONDS - begin)) s"
  begin=$SECONDS
  deploy/engine.sh image clos-demo/shop:1 \
    --change 'HEALTHCHECK --interval=1s --timeout=2s --retries=3 CMD test -e /tmp/ready'
  say "image     clos-demo/shop:1   $((SECONDS - begin)) s"

  mkdir -p "$state"
  setsid "$clos" serve --dir deploy/examples/shop --data-dir "$state/data" --kubeconfig "$kubeconfig" --listen "$listen" \
    >"$state/clos.out" 2>"$state/clos.log" </dev/null &
  echo $! >"$state/pid"
  for _ in $(seq 300); do
    grep -q '^ready in' "$state/clos.out" && break
    running || { cat "$state/clos.out" "$state/clos.log" >&2; rm -f "$state/pid"; fail "clos serve ended."; }
    sleep 0.1
  done
  cat "$state/clos.out"
  say ""
  "$clos" --kubeconfig "$kubeconfig" status --wait --timeout 2m

  say ""
  before=$(date +%s%N)
  docker kill clos_default_web-0 >/dev/null
  killed=$(repaired_after "$before" clos_default_web-0)
  before=$(date +%s%N)
  docker rm -f clos_default_worker-0 >/dev/null
  removed=$(repaired_after "$before" clos_default_worker-0)
  say "killed  container clos_default_web-0     running again after $killed ms"
  say "removed container clos_default_worker-0  a new one running after $removed ms"
  say ""
  "$clos" --kubeconfig "$kubeconfig" status --wait --timeout 2m >/dev/null 2>&1
  "$clos" --kubeconfig "$kubeconfig" status
  say ""
  say "look around   kubectl --kubeconfig $kubeconfig get clos -A"
  say "              $clos --kubeconfig $kubeconfig audit"
  say "stop          make demo-down"
}

down() {
  if running; then
    "$clos" --kubeconfig "$kubeconfig" down --all --volumes --yes || say "clos down failed; going on with the engine" >&2
    pid=$(cat "$state/pid")
    kill "$pid"
    for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "$state"
  if docker version >/dev/null 2>&1; then docker image rm -f clos-demo/shop:1 >/dev/null 2>&1 || true; fi
  deploy/engine.sh down
  say "The demo is gone."
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
