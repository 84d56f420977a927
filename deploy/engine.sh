#!/usr/bin/env bash
# A container engine and a small image for the demo and the tests.
#
#   deploy/engine.sh up      one that answers is used as it is; else Docker from the distribution's packages (as root)
#   deploy/engine.sh image NAME [--change INSTRUCTION]...    makes an image with busybox in it, without a registry
#   deploy/engine.sh down    stops the engine if `up` started it by hand
set -euo pipefail

state=${CLOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clos}/engine
socket=${DOCKER_HOST:-unix:///var/run/docker.sock}

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
answers() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

# Packages of Debian and Ubuntu, listed once.
install() {
  command -v apt-get >/dev/null || fail "No container engine answers at $socket and this is no Debian or Ubuntu: start Docker, or set DOCKER_HOST."
  [ -s /var/lib/apt/lists/lock ] || [ -n "$(ls -A /var/lib/apt/lists 2>/dev/null | grep -v -e lock -e partial)" ] || apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null; }
}

# Removes the pid file $2 unless the process in it is a living $1: after a crash the number may be free, somebody else's or a zombie's.
forget_dead() {
  [ -f "$2" ] || return 0
  pid=$(cat "$2")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$1" ] || grep -qs '^State:.*zombie' "/proc/$pid/status"; then rm -f "$2"; fi
}

up() {
  answers && return 0
  [ "$(id -u)" = 0 ] || fail "No container engine answers at $socket, and setting one up needs root: start Docker, set DOCKER_HOST, or run this as root."
  [ "$socket" = unix:///var/run/docker.sock ] || fail "No container engine answers at $socket: start it, or unset DOCKER_HOST."
  if ! command -v dockerd >/dev/null; then
    say "Installing Docker from the distribution's packages ..."
    client=$(apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli || true)
    # shellcheck disable=SC2086 # the client's package exists on newer releases only
    install docker.io iptables ca-certificates $client
  fi
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  elif ! answers; then
    say "Starting dockerd ..."
    mkdir -p "$state"
    forget_dead dockerd /var/run/docker.pid
    forget_dead containerd /var/run/docker/containerd/containerd.pid
    setsid nohup dockerd >"$state/dockerd.log" 2>&1 </dev/null &
    echo $! >"$state/dockerd.pid"
  fi
  for _ in $(seq 300); do answers && return 0; sleep 0.1; done
  fail "dockerd does not answer after 30 s; its log is $state/dockerd.log: $(tail -n 1 "$state/dockerd.log" 2>/dev/null)"
}

# The statically linked busybox of the distribution, and where it can be found.
busybox() {
  for candidate in /bin/busybox /usr/bin/busybox "$state/busybox/bin/busybox" "$state/busybox/usr/bin/busybox"; do
    if [ -x "$candidate" ] && ! ldd "$candidate" >/dev/null 2>&1; then echo "$candidate"; return; fi
  done
  command -v apt-get >/dev/null || fail "A statically linked busybox is needed for the image: install it as /bin/busybox."
  mkdir -p "$state/busybox"
  (cd "$state/busybox" && { apt-get -qq download busybox-static 2>/dev/null || { apt-get -qq update >&2 && apt-get -qq download busybox-static; }; } && dpkg-deb -x busybox-static_*.deb .)
  for candidate in "$state"/busybox/bin/busybox "$state"/busybox/usr/bin/busybox; do
    [ -x "$candidate" ] && { echo "$candidate"; return; }
  done
  fail "busybox-static could not be unpacked below $state/busybox"
}

image() {
  name=$1; shift
  docker image inspect "$name" >/dev/null 2>&1 && return 0
  box=$(busybox)
  root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
  mkdir -p "$root"/{bin,etc,tmp,www}
  cp "$box" "$root/bin/busybox"
  for applet in sh sleep cat echo true false kill ls touch rm test wget httpd nc nslookup hostname id env date head tail grep ps mkdir chmod yes dd sync printf; do
    ln -s busybox "$root/bin/$applet"
  done
  echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
  echo 'hello from clos' >"$root/www/index.html"
  chmod 1777 "$root/tmp"
  tar -C "$root" -c . | docker import "$@" - "$name" >/dev/null
}

down() {
  [ -f "$state/dockerd.pid" ] || return 0
  pid=$(cat "$state/dockerd.pid")
  if kill "$pid" 2>/dev/null; then
    for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -f "$state/dockerd.pid"
}

case ${1:-} in
  up) up ;;
  image) shift; image "$@" ;;
  down) down ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
