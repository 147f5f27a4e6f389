#!/bin/sh
# Set up and run every check: lint, types, unit tests, the built file on each supported Python, a real browser.
#
#   sh packaging/test.sh            everything but what takes minutes
#   sh packaging/test.sh --long     that too: soaks, full fuzzing, power cuts, benchmarks
#   sh packaging/test.sh [--long] tests/appliance ...    further arguments go to pytest
set -eu
cd "$(dirname "$0")/.."
. packaging/environment.sh

marks="not long"
profile=quick
if [ "${1:-}" = --long ]; then
    marks="(long or not long)"
    profile=long
    shift
fi

environment packaging/requirements-test.txt

# What the tests drive from outside. Tests that need what is still missing skip and say so.
have_chromium() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}
# The one without windows first: a page of it costs a quarter.
command -v chromium-headless-shell >/dev/null 2>&1 ||
    install "no light Chromium for the browser tests" chromium-headless-shell ||
    have_chromium || install "no Chromium for the browser tests" chromium || say "the browser tests will be skipped"
command -v gcc >/dev/null 2>&1 || install "no C compiler for the NVML test library" gcc libc6-dev || say "its tests will be skipped"
command -v bwrap >/dev/null 2>&1 && command -v busybox >/dev/null 2>&1 ||
    install "no bubblewrap for the tests of sandboxed tasks" bubblewrap busybox-static || say "their tests will be skipped"
# netavark is Podman's bridge network; busybox is what the containers run.
{ command -v dockerd && command -v podman && command -v runc && command -v conmon && [ -x /usr/lib/podman/netavark ] && [ -x /bin/busybox ]; } >/dev/null 2>&1 ||
    install "no container engines for their tests" docker.io podman runc conmon netavark busybox-static || say "those will be skipped"

# Its server listens on loopback only while a test runs it; installing it starts none.
command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ] ||
    install "no sshd for the tests of the swarm's ssh" openssh-server openssh-client || say "those will be skipped"
# Portage takes the environment that it lies in for its prefix, so it has one of its own.
portage=$PWD/build/portage-venv
wanted=$(cksum <packaging/requirements-portage.txt)
if [ "$(cat "$portage/.installed" 2>/dev/null)" != "$wanted" ] || ! "$portage/bin/python" -I -c '' 2>/dev/null; then
    say "installing what packaging/requirements-portage.txt locks into build/portage-venv"
    { "$python" -I -m venv --clear --without-pip "$portage" &&
        "$venv/bin/python" -m pip --python "$portage/bin/python" install --quiet --require-hashes \
            --requirement packaging/requirements-portage.txt </dev/null &&
        echo "$wanted" >"$portage/.installed"; } || say "no Portage for the tests that build with it: they will be skipped"
fi
if [ -f "$portage/.installed" ]; then
    export APPLIANCE_TEST_PORTAGE="$portage"
fi

# Every supported interpreter of this machine runs the built file; python3.X on PATH first, then pyenv's.
interpreters=""
missing=""
for version in 3.11 3.12 3.13; do
    found=""
    for candidate in "$(command -v "python$version" || true)" "/usr/bin/python$version" "$HOME/.pyenv/versions/$version".*/bin/python3; do
        [ -x "$candidate" ] || continue
        # Its own word for where it is: a wrapper on PATH is no interpreter.
        found=$("$candidate" -I -c "import sys; print(sys.executable if '%d.%d' % sys.version_info[:2] == '$version' else '')" \
            2>/dev/null || true)
        [ -z "$found" ] || break
    done
    if [ -n "$found" ]; then
        interpreters="$interpreters${interpreters:+:}$found"
    else
        missing="$missing $version"
    fi
done
export APPLIANCE_TEST_PYTHONS="$interpreters"
[ -z "$missing" ] || say "WARNING: not on this machine, so the built file is not tested on it: Python$missing"

# A failed check does not keep the next one from speaking; what failed is named at the end.
failed=""
say "lint"
"$venv/bin/ruff" check --quiet . || failed="$failed lint"
"$venv/bin/ruff" format --check --quiet . || failed="$failed format"
say "types"
"$venv/bin/mypy" --no-error-summary || failed="$failed types"
"$venv/bin/mypy" --no-error-summary packaging/build_zipapp.py || failed="$failed types"

say "building"
build

# tests PART COMMAND...: run pytest by a command of the environment's Python; what it says goes to build/PART.log, the
# time of each test to build/PART.xml, its status to build/PART.status.
tests() {
    part=$1
    shift
    status=0
    "$venv/bin/python" -c "$interruptible" "$venv/bin/python" -m "$@" --hypothesis-profile="$profile" \
        --junitxml="build/$part.xml" --basetemp="$scratch/$part" </dev/null >"build/$part.log" 2>&1 || status=$?
    echo "$status" >"build/$part.status"
}
# What a shell starts beside itself ignores these signals, and so does all that comes from it; tests send them.
interruptible="import os, signal, sys
for one in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(one, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])"

say "tests"
mkdir -p build
rm -f .coverage .coverage.* build/*.status
# Of this run alone: two that clear away each other's leavings come into each other's way.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ $# != 0 ]; then
    parts=chosen
    tests chosen pytest -m "$marks" "$@"
    cat build/chosen.log
else
    # Side by side: those in their own process, whose coverage counts, and those that wait for others or for a browser.
    parts="core plugins processes browser"
    here="$marks and not zipapp and not browser"
    tests core coverage run --parallel-mode -m pytest -m "$here" tests/appliance tests/plugins/gpu_sharing &
    tests plugins coverage run --parallel-mode -m pytest -m "$here" \
        --ignore tests/appliance --ignore tests/plugins/gpu_sharing tests &
    tests processes pytest -m "$marks and zipapp and not browser" &
    tests browser pytest -m "$marks and browser"
    wait
    for part in $parts; do
        cat "build/$part.log"
    done
fi
for part in $parts; do
    [ "$(cat "build/$part.status")" = 0 ] || failed="$failed tests-$part"
done
if [ $# = 0 ] && [ "$(cat build/core.status) $(cat build/plugins.status)" = "0 0" ]; then
    # The floor holds for the whole suite only.
    "$venv/bin/coverage" combine --quiet
    "$venv/bin/coverage" report --skip-covered --skip-empty >build/coverage.txt || failed="$failed coverage"
    tail -n 3 build/coverage.txt
fi
[ -z "$missing" ] || say "WARNING: the built file was not tested on Python$missing (not on this machine)"
if [ -z "$failed" ]; then
    say "passed"
else
    say "FAILED:$failed"
fi
for part in $parts; do
    tail -n 1 "build/$part.log"
done
[ -z "$failed" ]
