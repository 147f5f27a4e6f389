#!/bin/sh
# Build dist/appliance.pyz and nothing else.
set -eu
cd "$(dirname "$0")/.."
. packaging/environment.sh

environment
build
