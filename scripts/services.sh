#!/usr/bin/env bash
# Install the Mosquitto broker that some integration tests run against, where that can be done without asking.
set -euo pipefail
# Debian installs the broker where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin

say() { printf '%s\n' "$*"; }

install_mosquitto() {
    apt-get install --yes --no-install-recommends mosquitto
}

if command -v mosquitto >/dev/null; then
    say "Mosquitto is installed: $(command -v mosquitto)"
elif [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "Mosquitto is not installed: that takes root and apt-get. The tests that need it will be skipped;"
    say "to run them, install Mosquitto from your system's packages."
else
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    say "Installing Mosquitto with apt-get"
    # A new machine has no package list yet.
    if { install_mosquitto || { apt-get update && install_mosquitto; }; } >"$log" 2>&1; then
        say "Mosquitto is installed: $(command -v mosquitto)"
    else
        tail -n 5 "$log"
        say "Mosquitto could not be installed (see above). The tests that need it will be skipped."
    fi
    rm "$log"
fi
