#!/bin/sh
# Make the lock files again from pyproject.toml. Run it with the lowest supported Python (3.11): its answer holds for
# 3.12 and 3.13 too, because nothing locked here is needed by a later version only (test.sh installs it on each).
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
environment=build/lock-venv
[ -x "$environment/bin/pip-compile" ] || {
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet "pip-tools==7.6.2"
}

lock() {
    echo "lock: $1"
    output=$1
    shift
    CUSTOM_COMPILE_COMMAND="sh packaging/lock.sh" "$environment/bin/pip-compile" --quiet --generate-hashes --strip-extras \
        --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        --resolver=backtracking --output-file "$output" "$@" pyproject.toml
}

lock packaging/requirements.txt "$@"
lock packaging/requirements-test.txt --constraint packaging/requirements.txt --extra test "$@"
lock packaging/requirements-bench.txt --constraint packaging/requirements-test.txt --extra bench "$@"
