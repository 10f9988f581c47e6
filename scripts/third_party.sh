#!/usr/bin/env bash
# Fetch the packages of tests/third_party.txt into .cache/third_party, each checked against its integrity; keep those that match.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

list=tests/third_party.txt
folder=.cache/third_party

main() {
    local package version integrity
    mkdir -p "$folder"
    while read -r package version integrity; do
        case $package in '#'* | '') continue ;; esac
        fetch "$package" "$version" "$integrity"
    done <"$list"
}

fetch() {
    local file part found
    file=$folder/$(basename_of "$1" "$2")
    part=$folder/part
    [ ! -f "$file" ] || [ "$(integrity_of "$file")" != "$3" ] || return 0
    rm -rf "$part" && mkdir "$part"
    # npm would read the list on standard input.
    npm pack --ignore-scripts --loglevel=error --pack-destination "$part" "$1@$2" >/dev/null </dev/null ||
        fail "npm could not fetch $1@$2. Is the package registry reachable? Set-up needs it once."
    found=$(integrity_of "$part/$(basename_of "$1" "$2")")
    [ "$found" = "$3" ] || fail "$1@$2 is not what $list says: its integrity is $found."
    mv "$part"/*.tgz "$file"
    rmdir "$part"
}

# As npm names it: @scope/name 1.0 becomes scope-name-1.0.tgz.
basename_of() {
    local name=${1#@}
    echo "${name//\//-}-$2.tgz"
}

integrity_of() {
    node -e 'const bytes = require("fs").readFileSync(process.argv[1]);
        console.log("sha512-" + require("crypto").createHash("sha512").update(bytes).digest("base64"));' "$1"
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main
