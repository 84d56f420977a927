#!/usr/bin/env bash
# A container engine and a small image for the demo and the tests.
#
#   deploy/engine.sh up      one that answers is used as it is; else Docker from the distribution's packages (as root)
#   deploy/engine.sh image NAME [--change INSTRUCTION]...    makes an image with busybox in it, without a registry
#   deploy/engine.sh down    stops the engine if `up` started it by hand
#   deploy/engine.sh second NAME [--current] [--live-restore]   another dockerd beside it (as root, on Linux), in a network namespace
#                            of its own; prints its address for DOCKER_HOST. --current: the newest Docker of Debian, unpacked, not installed
#   deploy/engine.sh second NAME pid|netns|start|down   its process id | the path of its namespace | starts it again on its data
#                            after it was ended | removes it with all it had
set -euo pipefail

state=${CLOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clos}/engine
socket=${DOCKER_HOST:-unix:///var/run/docker.sock}

# Small subnets: of the engine's own, large ones there are enough for about thirty networks.
pools=(--default-address-pool base=172.16.0.0/12,size=24 --default-address-pool base=192.168.0.0/16,size=24)

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
answers() { command -v docker >/dev/null && timeout 10 docker -H "${1:-$socket}" version >/dev/null 2>&1; }

# Packages of Debian and Ubuntu, listed once.
install() {
  command -v apt-get >/dev/null || fail "No container engine answers at $socket and this is no Debian or Ubuntu: start Docker, or set DOCKER_HOST."
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null; }
}

# Docker from the distribution's packages, unless it is there.
packages() {
  ! command -v dockerd >/dev/null || return 0
  say "Installing Docker from the distribution's packages ..."
  # The client's package exists on newer releases only.
  client=(); ! apt-cache show docker-cli >/dev/null 2>&1 || client=(docker-cli)
  install docker.io iptables ca-certificates "${client[@]}"
}

# Waits until the engine at $1 answers; $2 is its log.
await() {
  deadline=$((SECONDS + 60))
  while [ "$SECONDS" -lt "$deadline" ]; do answers "$1" && return 0; sleep 0.1; done
  fail "dockerd does not answer after 60 s; its log is $2: $(tail -n 1 "$2" 2>/dev/null)"
}

# Removes the pid file $2 unless the process in it is a living $1: after a crash the number may be free, somebody else's or a zombie's.
forget_dead() {
  [ -f "$2" ] || return 0
  pid=$(cat "$2")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$1" ] || grep -qs '^State:.*zombie' "/proc/$pid/status"; then rm -f "$2"; fi
}

# Whether an engine answers that only the docker command is missing for.
answers_without_client() {
  ! command -v docker >/dev/null && command -v curl >/dev/null && [ -S "${socket#unix://}" ] &&
    curl -fs --max-time 10 --unix-socket "${socket#unix://}" http://localhost/_ping >/dev/null
}

up() {
  answers && return 0
  ! answers_without_client || fail "A container engine answers at $socket, and the docker command is missing: install it (on Debian: docker-cli)."
  [ "$(id -u)" = 0 ] || fail "No container engine answers at $socket, and setting one up needs root: start Docker, set DOCKER_HOST, or run this as root."
  [ "$socket" = unix:///var/run/docker.sock ] || fail "No container engine answers at $socket: start it, or unset DOCKER_HOST."
  packages
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  elif ! answers; then
    say "Starting dockerd ..."
    mkdir -p "$state"
    forget_dead dockerd /var/run/docker.pid
    forget_dead containerd /var/run/docker/containerd/containerd.pid
    setsid nohup dockerd "${pools[@]}" >"$state/dockerd.log" 2>&1 </dev/null &
    echo $! >"$state/dockerd.pid"
  fi
  await "$socket" "$state/dockerd.log"
}

# Where a statically linked busybox lies, if one does.
find_busybox() {
  for candidate in /bin/busybox /usr/bin/busybox "$state/busybox/bin/busybox" "$state/busybox/usr/bin/busybox"; do
    if [ -x "$candidate" ] && ! ldd "$candidate" >/dev/null 2>&1; then echo "$candidate"; return; fi
  done
  return 1
}

# The statically linked busybox of the distribution, unpacked below $state if none is there.
busybox() {
  if find_busybox; then return; fi
  command -v apt-get >/dev/null || fail "A statically linked busybox is needed for the image: install it as /bin/busybox."
  new=$state/busybox.new; rm -rf "$new" "$state/busybox"; mkdir -p "$new"
  (cd "$new" && { apt-get -qq download busybox-static >&2 2>/dev/null || { apt-get -qq update >&2 && apt-get -qq download busybox-static >&2; }; } && dpkg-deb -x busybox-static_*.deb .) ||
    fail "The package busybox-static could not be fetched."
  mv "$new" "$state/busybox"
  find_busybox || fail "There is no statically linked busybox below $state/busybox."
}

image() {
  name=$1; shift
  docker image inspect "$name" >/dev/null 2>&1 && return 0
  # Several tests may want it at once.
  mkdir -p "$state"; exec 9>"$state/image.lock"; flock 9
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

# Unpacks the newest Docker of Debian (its unstable suite) below $state/current, once, with an apt state of its own: nothing is installed.
current() {
  mkdir -p "$state"
  exec 9>"$state/current.lock"; flock 9
  if [ ! -d "$state/current" ]; then
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    if ! grep -qs '^ID=debian$' /etc/os-release || [ ! -e "$keys" ]; then fail "The current Docker is taken from Debian's packages, and this is not Debian."; fi
    command -v runc >/dev/null || fail "The current Docker needs a runc on the PATH."
    # The mirror this machine uses already.
    # shellcheck disable=SC2016 # apt's own variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    apt=$state/current.new; rm -rf "$apt"; mkdir -p "$apt"/{lists,cache,tree/usr/sbin}
    echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} sid main" >"$apt/sources.list"
    say "Fetching the current Docker from Debian's packages ..."
    own=(-qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
    (cd "$apt" && apt-get "${own[@]}" update >&2 && apt-get "${own[@]}" download docker.io containerd >&2) || fail "The current Docker could not be fetched from Debian's packages."
    for package in "$apt"/*.deb; do dpkg-deb -x "$package" "$apt/tree"; done
    # That of the unstable suite needs a newer libc than the stable release has.
    ln -s "$(command -v runc)" "$apt/tree/usr/sbin/runc"
    mv "$apt/tree" "$state/current"; rm -rf "$apt"
  fi
  exec 9>&-
}

# The second engine's processes: its daemons by the folder on their command lines, and with `all` what runs in its containers by its control group.
processes() {
  grep -lsF -- "$home/run/" /proc/[0-9]*/cmdline | cut -d/ -f3 | while read -r pid; do
    case $(cat "/proc/$pid/comm" 2>/dev/null) in dockerd | containerd) echo "$pid" ;; containerd-shim*) [ "${1:-}" != all ] || echo "$pid" ;; esac
  done
  [ "${1:-}" != all ] || find /sys/fs/cgroup -path "*/clos-$name/*/cgroup.procs" -exec cat {} + 2>/dev/null | sort -u || true
}

# Ends what `processes` says, and waits until it is gone.
end() {
  for _ in $(seq 100); do
    pids=$(processes "$@")
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086 # one word a process
    kill -9 $pids 2>/dev/null || true
    sleep 0.1
  done
  fail "Processes of the engine $name do not end: $pids"
}

# Starts the second engine on the data and with the options it has.
second_start() {
  [ -d "$home" ] || fail "There is no engine $name: make it with deploy/engine.sh second $name."
  answers "$address" && return 0
  end
  rm -f "$home"/run/docker.pid "$home"/run/containerd/containerd.pid
  [ -e "$netns" ] || ip netns add "clos-$name"
  ip -n "clos-$name" link set lo up
  path=$PATH; options=()
  ! grep -qx current "$home/options" || path=$state/current/usr/sbin:$state/current/usr/bin:$PATH
  ! grep -qx live-restore "$home/options" || options=(--live-restore)
  # Not `ip netns exec`: it mounts another /sys, which hides the control groups.
  PATH=$path setsid nohup nsenter --net="$netns" dockerd "${pools[@]}" --data-root "$home/data" --exec-root "$home/run" --pidfile "$home/run/docker.pid" -H "$address" \
    --cgroup-parent "/clos-$name" --exec-opt native.cgroupdriver=cgroupfs "${options[@]}" >>"$home/dockerd.log" 2>&1 </dev/null &
  await "$address" "$home/dockerd.log"
}

second_down() {
  end all
  # Where the ended shims listened.
  grep -rhoE '/run/containerd/s/[0-9a-f]+' "$home/run/containerd/daemon" 2>/dev/null | xargs -r rm -f || true
  # Innermost first.
  awk -v home="$home/" 'index($2, home) == 1 { print $2 }' /proc/mounts | tac | xargs -r umount -l
  [ ! -e "$netns" ] || ip netns del "clos-$name"
  find /sys/fs/cgroup -depth -type d -path "*/clos-$name*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$home"
}

second() {
  name=${1:-}
  [[ $name =~ ^[a-z0-9][a-z0-9-]{0,19}$ ]] || fail "The engine's name must be 1 to 20 of a-z, 0-9 and -, not '$name'."
  shift
  home=$state/second/$name address=unix://$state/second/$name/docker.sock netns=/var/run/netns/clos-$name
  # The longest of its sockets; the kernel allows 107 bytes.
  [ "$(printf %s "$home/run/containerd/containerd.sock.ttrpc" | wc -c)" -lt 108 ] || fail "The path $home is too long for sockets: set CLOS_CACHE to a shorter one."
  case ${1:-} in
    pid) cat "$home/run/docker.pid" 2>/dev/null || fail "The engine $name does not run."; return ;;
    netns) echo "$netns"; return ;;
  esac
  [ "$(uname -s)" = Linux ] || fail "A second container engine needs Linux."
  [ "$(id -u)" = 0 ] || fail "A second container engine needs root: run this as root."
  case ${1:-} in
    start) second_start ;;
    down) second_down ;;
    *)
      packages
      command -v ip >/dev/null || install iproute2
      wanted=$(for option in "$@"; do case $option in --current | --live-restore) echo "${option#--}" ;; *) fail "Not an option of a second engine: $option" ;; esac; done | sort -u)
      ! grep -qx current <<<"$wanted" || current
      # One made with other options, or half made, is no use.
      [ ! -d "$home" ] || [ "$(cat "$home/options" 2>/dev/null)" = "$wanted" ] || second_down
      mkdir -p "$home"; echo "$wanted" >"$home/options"
      second_start ;;
  esac
  [ "${1:-}" = down ] || echo "$address"
}

case ${1:-} in
  up) up ;;
  image) shift; image "$@" ;;
  down) down ;;
  second) shift; second "$@" ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
