#!/usr/bin/env bash
# Lets the real clients of the network talk to a real `convminer serve`.
#
#   tests/interop/run.sh BINARY CHECKPOINT [VENVS]
#
# Makes a Python environment for each client below VENVS, unless they are there already.
# Needs Python 3.11 or later with venv, and the Python package registry the first time.
set -euo pipefail

if (($# < 2)); then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
binary=$(realpath "$1")
checkpoint=$(realpath "$2")
venvs=${3:-${XDG_CACHE_HOME:-$HOME/.cache}/convminer/interop}
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
python=${PYTHON:-python3}
status=0
# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1

for requirements in "$here"/requirements-*.txt; do
    version=$(basename "$requirements" .txt)
    version=${version#requirements-}
    venv=$venvs/bittensor-$version
    # The copy of the requirements is written last, so it says whether the environment is complete.
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        cp "$requirements" "$venv/requirements.txt"
    fi
    printf '\n-- bittensor %s\n' "$version"
    "$venv/bin/python" "$here/interop.py" --binary "$binary" --checkpoint "$checkpoint" || status=1
done
exit "$status"
