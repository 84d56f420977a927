#!/usr/bin/env bash
# Programs the tests need. Prints the path of the program.
#
#   e2e/tools.sh kubectl    1.32 or newer: the one on the PATH, else built from its module (needs Go) and cached
set -euo pipefail
cd "$(dirname "$0")"

cache=${CLOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clos}/tools

fail() { printf '%s\n' "$*" >&2; exit 1; }

find_kubectl() {
  if minor=$(command kubectl version --client -o json 2>/dev/null | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p') && [ "${minor:-0}" -ge 32 ]; then
    command -v kubectl
    return
  fi
  sum=$(cat tools/kubectl/go.mod tools/kubectl/go.sum tools/kubectl/main.go | sha256sum | cut -c1-12)
  binary=$cache/kubectl-$sum
  if [ ! -x "$binary" ]; then
    command -v go >/dev/null || fail "kubectl 1.32 or newer is not on the PATH, and Go, which could build it, is not installed: install one of the two."
    version=$(sed -n 's#.*k8s.io/kubectl v0\.\([0-9.]*\).*#1.\1#p' tools/kubectl/go.mod | head -n 1)
    echo "Building kubectl $version (once) ..." >&2
    mkdir -p "$cache"
    (cd tools/kubectl && CGO_ENABLED=0 go build -trimpath -o "$binary.new" -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version \
      -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)" .)
    mv "$binary.new" "$binary"
  fi
  echo "$binary"
}

case ${1:-} in
  kubectl) find_kubectl ;;
  *) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
