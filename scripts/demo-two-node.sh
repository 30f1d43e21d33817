#!/usr/bin/env bash
# Two daemons on this machine: add a file on one, get it on the other, compare.
#
#   scripts/demo-two-node.sh [--size 100M] [FILE]
#
# KEEP_WORKDIR=1 keeps logs and data and prints where they are.
set -euo pipefail

# The alias lives in the repository, so cargo starts there; the task resolves
# FILE against the directory the caller stands in.
export DFS_DEMO_CALLER_DIR="${DFS_DEMO_CALLER_DIR:-$PWD}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo xtask demo "$@"
