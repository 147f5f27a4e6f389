# Read by run.sh, test.sh and build.sh (`. packaging/environment.sh`, from the top of the checkout). POSIX sh.
#
# $python is an interpreter of a supported version; environment makes .venv with it and leaves its path in $venv.
# PYTHON=/path/to/python3 in the environment chooses another interpreter.

venv=.venv
name=$(basename "$0")
unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() {
    echo "$name: $*" >&2
}

die() {
    say "$@"
    exit 1
}

is_root() {
    [ "$(id -u)" = 0 ]
}

# install COMMAND-OR-REASON PACKAGE...: with apt-get as root; otherwise say what to type, and fail.
install() {
    reason=$1
    shift
    if ! command -v apt-get >/dev/null 2>&1; then
        say "$reason; install the packages that your system has for: $*"
        return 1
    fi
    if ! is_root; then
        say "$reason; run: sudo apt-get install $*"
        return 1
    fi
    say "$reason; installing $*"
    (
        # What is installed for this must not begin to serve: packages ask policy-rc.d before they start a daemon.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2 && exit 0
        apt-get update -qq </dev/null >&2 && apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
    )
}

supported() {
    "$1" -I -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11 /usr/bin/python3; do
        python=$(command -v "$python") && supported "$python" && return 0
    done
    install "no Python 3.11, 3.12 or 3.13 here" python3 || exit 1
    python=$(command -v /usr/bin/python3) && supported "$python" || die "this system's python3 is none of 3.11, 3.12, 3.13"
}

# environment LOCK: .venv with what a lock file names; `environment` alone: .venv with pip and nothing else.
environment() {
    find_python
    version=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! supported "$venv/bin/python"; then
        if ! "$python" -I -c 'import ensurepip, venv' >/dev/null 2>&1; then
            install "this Python $version cannot make environments (Debian keeps ensurepip in a package of its own)" \
                "python$version-venv" || exit 1
        fi
        say "making $venv with $python (Python $version)"
        "$python" -I -m venv --clear "$venv" || die "could not make $venv"
    fi
    [ $# = 0 ] && return 0
    wanted=$(cksum <"$1")
    stamp=$venv/.installed-$(basename "$1")
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        say "installing what $1 locks into $venv"
        "$venv/bin/python" -m pip install --quiet --require-hashes --requirement "$1" </dev/null || die "pip failed"
        echo "$wanted" >"$stamp"
    fi
}

build() {
    "$venv/bin/python" packaging/build_zipapp.py </dev/null || die "building dist/appliance.pyz failed"
}
