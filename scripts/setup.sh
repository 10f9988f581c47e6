#!/usr/bin/env bash
# Make .venv, node_modules and the tests' packages match their locks; nothing is run or fetched when they already do.
#
# PYTHON=/path/to/python3 names the interpreter for .venv; without it, the first suitable one on PATH is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(pwd -P)

lock=.setup-running # holds the process at work; one that is dead has left something half done
venv_stamp=.venv/setup-complete
venv_log=.venv/setup.log
node_stamp=node_modules/.setup-complete
third_party_stamp=.cache/third_party/.complete

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main() {
    if venv_ready && node_ready && third_party_ready; then return; fi
    check_prerequisites
    take_lock
    venv_ready || set_up_venv
    node_ready || set_up_node
    third_party_ready || set_up_third_party
    rm "$lock"
    say "Set-up is complete."
}

venv_ready() {
    [ -f "$venv_stamp" ] && venv_is_ours && [ "$(cat "$venv_stamp")" = "$(venv_source)" ]
}

venv_source() { cksum requirements.lock requirements-dev.lock pyproject.toml && .venv/bin/python --version; }

# A virtual environment holds absolute paths: one that was moved or copied still points to where it was made.
venv_is_ours() {
    grep -qF -- "-m venv $root/.venv" .venv/pyvenv.cfg 2>/dev/null && .venv/bin/python --version >/dev/null 2>&1 &&
        { [ -z "${PYTHON:-}" ] || [ "$(base_python "$PYTHON" 2>/dev/null)" = "$(base_python .venv/bin/python)" ]; }
}

node_ready() {
    [ -f "$node_stamp" ] && [ "$(cat "$node_stamp")" = "$(cksum package-lock.json)" ] && [ -x "$(anvil_path)" ]
}

anvil_path() { echo node_modules/@foundry-rs/anvil-*/bin/anvil; }

third_party_ready() {
    [ -f "$third_party_stamp" ] && [ "$(cat "$third_party_stamp")" = "$(cksum tests/third_party.txt)" ]
}

take_lock() {
    local process
    interrupted=
    until (set -o noclobber && echo $$ >"$lock") 2>/dev/null; do
        [ -r "$lock" ] || fail "Cannot write $root/$lock."
        process=$(cat "$lock")
        if kill -0 "$process" 2>/dev/null; then
            fail "Another set-up (process $process) is at work here: run this again when it has finished." \
                "If that process is something else, delete $lock."
        fi
        rm "$lock"
        interrupted=yes
    done
}

check_prerequisites() {
    local missing=()
    if ! venv_ready && ! find_python; then
        missing+=("  Python 3.11 or newer, with its venv module (found:${found_python:- none})"
            "    Install it (Debian, Ubuntu: apt install python3 python3-venv) or name one: make setup PYTHON=/path/to/python3")
    fi
    if ! { node_ready && third_party_ready; } && ! find_node; then
        missing+=("  Node.js 18 or newer, with npm (found:${found_node:- none})"
            "    It brings anvil, the chain that the demo and the tests run on. Install it from your system's packages.")
    fi
    [ ${#missing[@]} -eq 0 ] || fail "Set-up cannot start. Missing:" "${missing[@]}"
}

# The lock was resolved with 3.11, so the nearest version to it comes first.
find_python() {
    local candidates=(python3.11 python3.12 python3.13 python3.14 python3) candidate version
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    found_python=
    for candidate in "${candidates[@]}"; do
        if ! version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null); then
            [ -z "${PYTHON:-}" ] || found_python=" $PYTHON, which does not run"
        elif ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            found_python="${found_python:+$found_python,} $candidate $version"
        elif ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            found_python="${found_python:+$found_python,} $candidate $version without venv"
        else
            python=$(base_python "$candidate")
            return
        fi
    done
    return 1
}

# The interpreter itself, also when a shim or an activated .venv (which may be rebuilt) stands before it on PATH.
base_python() { "$1" -c 'import os, sys; print(os.path.realpath(sys._base_executable))'; }

find_node() {
    local version
    found_node=
    version=$(node --version 2>/dev/null) || return 1
    found_node=" node $version"
    npm --version >/dev/null 2>&1 || { found_node="$found_node without npm" && return 1; }
    version=${version#v}
    [ "${version%%.*}" -ge 18 ]
}

set_up_venv() {
    if [ -n "$interrupted" ] || ! venv_is_ours || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "[1/5] Making .venv with $("$python" --version) ($python)"
        rm -rf .venv
        "$python" -m venv .venv
    else
        say "[1/5] Updating .venv, $(.venv/bin/python --version)"
        rm -f "$venv_stamp"
    fi
    : >"$venv_log"
    say "[2/5] Installing the Python packages of requirements-dev.lock (a minute or two; torch is the largest)"
    pip_install --no-compile -r requirements-dev.lock
    say "      compiling them"
    # pip would use one core. Some packages ship test files in a newer syntax, which nothing imports.
    .venv/bin/python -m compileall -q -j 0 .venv/lib >>"$venv_log" 2>&1 || :
    say "[3/5] Installing keeper itself"
    pip_install --no-deps --no-build-isolation -e .
    venv_source >"$venv_stamp"
}

# pip's own output goes to the log; a line is shown for every 20th package, every large download and the last step.
pip_install() {
    local count=0 line
    .venv/bin/python -m pip install --no-input --progress-bar off --disable-pip-version-check "$@" 2>&1 |
        while IFS= read -r line; do
            printf '%s\n' "$line" >>"$venv_log"
            case $line in
                Collecting* | Processing*)
                    count=$((count + 1))
                    [ $((count % 20)) -ne 0 ] || say "      $count packages found"
                    ;;
                *Downloading*[0-9][0-9].[0-9]" MB)"*)
                    line=${line#*Downloading }
                    say "      downloading ${line##*/}"
                    ;;
                "Installing collected packages"*) [ "$count" -eq 0 ] || say "      $count packages found, writing them to .venv" ;;
            esac
        done || fail "$(tail -n 8 "$venv_log")" "" "pip could not install the packages (see above; all of it is in $venv_log)." \
        "Is the package index reachable? Set-up needs it once, and not again until the lock changes."
}

set_up_node() {
    say "[4/5] Installing anvil with npm"
    # NODE_ENV=production and omit settings would leave anvil out; its postinstall only repeats what npm has done.
    npm ci --ignore-scripts --include=dev --include=optional --no-audit --no-fund --loglevel=error ||
        fail "npm could not install anvil (see above). Is the package registry reachable? Set-up needs it once."
    [ -x "$(anvil_path)" ] || fail "npm has no anvil for this system ($(uname -sm))."
    cksum package-lock.json >"$node_stamp"
}

set_up_third_party() {
    say "[5/5] Fetching the contracts of tests/third_party.txt with npm"
    bash scripts/third_party.sh
    cksum tests/third_party.txt >"$third_party_stamp"
}

main
