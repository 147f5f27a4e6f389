#!/bin/sh
# Set everything up, build dist/appliance.pyz and serve. Arguments go to `appliance serve`.
set -eu
cd "$(dirname "$0")/.."
. packaging/environment.sh

environment
build
say "starting: $python dist/appliance.pyz serve $*"
exec "$python" dist/appliance.pyz serve "$@"
