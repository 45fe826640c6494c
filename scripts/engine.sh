#!/bin/sh
# Makes a Docker engine answer: does nothing when one does. Installs and starts one only as root on a Debian machine
# without an init system that would do so, such as a CI runner's container. Safe to run again.
set -eu

if docker version >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "No Docker engine answers, and only root can start one. \`make doctor\` says what to do." >&2
    exit 3
fi

missing=
command -v dockerd >/dev/null 2>&1 || missing="$missing docker.io"
command -v iptables >/dev/null 2>&1 || missing="$missing iptables"
command -v mmdebstrap >/dev/null 2>&1 || missing="$missing mmdebstrap"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Missing here:$missing." >&2
        exit 3
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ -d /run/systemd/system ]; then
    systemctl start docker
else
    log=${TMPDIR:-/tmp}/dockerd.log
    # In a session of its own: it outlives the script, and the terminal's Ctrl-C is not meant for it.
    setsid dockerd >"$log" 2>&1 </dev/null &
fi

tries=150
until docker version >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "The Docker engine did not start. Its log ends:" >&2
        tail -5 "${log:-/dev/null}" >&2
        exit 3
    fi
    sleep 0.2
done
