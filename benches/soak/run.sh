#!/usr/bin/env bash
# Lets `convminer serve` answer for a long time at half of its maximal rate, while its checkpoint
# and its metagraph are replaced every 10 s and its ensemble panics now and then. Not one answer may
# be wrong or lost. Writes what it saw into BENCHMARKS.md.
#
#   benches/soak/run.sh [--minutes 30] [OPTION...]       (--help shows the other options)
#
# Needs Linux, a release build of convminer and Python 3.11 or later, and nothing else.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root/benches
exec "${PYTHON:-python3}" -m soak "$@"
