#!/usr/bin/env bash
# Programs the tests need. Prints the path of the program.
#
#   e2e/tools.sh kubectl    1.32 or newer: the one on the PATH, else built from its module (needs Go) and cached
#   e2e/tools.sh registry   an image registry: the one on the PATH, else that of the distribution's packages, unpacked and cached
#   e2e/tools.sh faults     strace and libfaketime, by which tests spoil system calls and the clock: from the distribution's packages (as root)
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

# Several tests may want it at once.
find_registry() {
  if command -v docker-registry; then return; fi
  binary=$cache/registry/usr/bin/docker-registry
  mkdir -p "$cache"
  exec 9>"$cache/registry.lock"; flock 9
  if [ ! -x "$binary" ]; then
    command -v apt-get >/dev/null || fail "docker-registry is not on the PATH, and this is no Debian or Ubuntu with a package of it: install it."
    new=$cache/registry.new; rm -rf "$new" "$cache/registry"; mkdir -p "$new"
    (cd "$new" && { apt-get -qq download docker-registry 2>/dev/null || { apt-get -qq update >&2 && apt-get -qq download docker-registry >&2; }; }) ||
      fail "The package docker-registry could not be fetched."
    dpkg-deb -x "$new"/docker-registry_*.deb "$new"
    mv "$new" "$cache/registry"
  fi
  echo "$binary"
}

find_faults() {
  library=$(find /usr/lib -path '*/faketime/libfaketimeMT.so.1' | head -n 1)
  if [ -z "$library" ] || ! command -v strace >/dev/null; then
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || fail "strace and libfaketime are not installed: install both."
    echo "Installing strace and libfaketime from the distribution's packages ..." >&2
    install=(apt-get -qq install -y --no-install-recommends strace libfaketime)
    DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null; }
    library=$(find /usr/lib -path '*/faketime/libfaketimeMT.so.1' | head -n 1)
  fi
  command -v strace
  echo "$library"
}

case ${1:-} in
  kubectl) find_kubectl ;;
  registry) find_registry ;;
  faults) find_faults ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "${0##*/}"; exit 2 ;;
esac
