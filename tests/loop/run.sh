#!/usr/bin/env bash
# Runs the operator's loop in small, with the real Bittensor client: serve, outcomes, replay,
# diagnose, calibrate, tune, learn, promote, rollback.
#
#   tests/loop/run.sh BINARY [VENVS]
#
# Uses the Python environment of tests/interop below VENVS, and makes it unless it is there already.
# Needs Python 3.11 or later with venv, and the Python package registry the first time.
set -euo pipefail

if (($# < 1)); then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
binary=$(realpath "$1")
venvs=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/convminer/interop}
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
requirements=$here/../interop/requirements-10.5.0.txt
venv=$venvs/bittensor-10.5.0
# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1

if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$venv/requirements.txt"
fi
"$venv/bin/python" "$here/loop.py" --binary "$binary"
