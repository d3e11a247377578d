#!/bin/sh
# The entry point of a Python pod.
set -eu
exec "${KS_PROGRAM:-python3}" -I -S -B "${0%/*}/main.py"
