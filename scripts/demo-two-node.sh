#!/usr/bin/env bash
# Starts two daemons on this machine, adds a file on one, gets it on the other,
# and compares the bytes.
#
#   scripts/demo-two-node.sh [--size 100M] [FILE]
#
# KEEP_WORKDIR=1 keeps logs and data, and prints where they are.
set -euo pipefail

# The cargo alias is defined in the repository, so cargo has to start there. The
# task resolves FILE against the caller's directory.
export DFS_DEMO_CALLER_DIR="${DFS_DEMO_CALLER_DIR:-$PWD}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo xtask demo "$@"
