#!/bin/sh
# Install Mimir for this user: an environment of its own, and the command mimir in ~/.local/bin. No root.
#
#     sh install.sh                  from the package index that pip is set up with
#     sh install.sh --from FOLDER    from a folder of wheels, without a network
#     sh install.sh --uninstall      take it out again; stores stay where they are
#
# Every package is checked against the sha256 in this file before it is unpacked, Mimir's own too. A copy of this file
# with those in it lies in each release, and in each folder that scripts/wheelhouse.py fills.
set -eu

pins() {
    cat <<'PINS'
@PINS@
PINS
}

say() { printf 'mimir: %s\n' "$*"; }
fail() {
    printf 'mimir: %s\n' "$*" >&2
    exit 1
}

find_python() {
    for python in "${MIMIR_PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if [ -n "$python" ] && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then
            return
        fi
    done
    fail "Python 3.11 or newer with venv is needed, and none is on PATH (on Debian and Ubuntu: python3-venv);" \
        "name one with MIMIR_PYTHON."
}

is_ours() { [ -L "$command" ] && case $(readlink "$command") in "$home"/*) true ;; *) false ;; esac; }

uninstall() {
    if is_ours; then rm "$command"; fi
    # Only what was made here: somebody may keep a store beside it.
    rm -rf "$home"/environment.*
    if [ -d "$home" ]; then rmdir "$home" 2>/dev/null || say "left as it is: $home"; fi
    say "removed. Memories stay in their files, by default in $HOME/.mimir."
}

install() {
    [ "$(pins | wc -l)" -gt 1 ] || fail "this copy holds no hashes: take install.sh from a release, or let" \
        "scripts/wheelhouse.py FOLDER write one."
    if [ -e "$command" ] || [ -L "$command" ]; then
        is_ours || fail "$command is there already and not from here: remove it first."
    fi
    find_python
    mkdir -p "$home" "$(dirname "$command")"
    new=$(mktemp -d "$home/environment.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    trap 'exit 1' HUP INT TERM
    say "installing into $new"
    "$python" -m venv "$new"
    pins >"$new/requirements.txt"
    "$new/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
        --only-binary=:all: --requirement "$new/requirements.txt" "$@" ||
        fail "pip could not install what this file names; its message is above. Nothing was changed."
    "$new/bin/mimir" --version
    ln -s "$new/bin/mimir" "$new/command"
    mv -f "$new/command" "$command"
    trap - EXIT
    for old in "$home"/environment.*; do
        [ "$old" = "$new" ] || rm -rf "$old"
    done
    say "installed: $command"
    case ":$PATH:" in
    *":$(dirname "$command"):"*) ;;
    *) say "$(dirname "$command") is not on PATH yet; add this to your shell's profile:" \
        "export PATH=\"$(dirname "$command"):\$PATH\"" ;;
    esac
    say "try: mimir demo, then: mimir connect --all-detected"
}

[ -n "${HOME:-}" ] || fail "HOME is not set."
home=${XDG_DATA_HOME:-$HOME/.local/share}/mimir
command=$HOME/.local/bin/mimir

case "${1:-}" in
"") install ;;
--from)
    [ -d "${2:-}" ] || fail "--from needs a folder of wheels."
    install --no-index --find-links "$2"
    ;;
--uninstall) uninstall ;;
*) fail "usage: install.sh [--from FOLDER | --uninstall]" ;;
esac
