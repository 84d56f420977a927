#!/usr/bin/env bash
# The generated files: the CustomResourceDefinitions.
#
#   e2e/generated.sh write    makes them anew from the code
#   e2e/generated.sh check    fails when the committed ones differ from what the code says
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
# The program that is built already, if somebody says where.
${CLOS:-cargo run --quiet --bin clos --} crds --directory "$fresh"

case ${1:-} in
  write) mkdir -p crds && cp "$fresh"/* crds/ ;;
  check) diff -ru crds "$fresh" || { echo "crds/ is stale; run: make regenerate" >&2; exit 1; } ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
