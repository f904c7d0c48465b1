#!/usr/bin/env bash
# Puts the same load on the axon of the Bittensor SDK, with the guide's two networks in PyTorch, and
# on `convminer serve`, and writes the table into BENCHMARKS.md.
#
#   benches/axon/run.sh [--venv DIR] [OPTION...]       (--help shows the other options)
#
# Needs Linux, a release build of convminer, Python 3.11 or later with venv, and, the first time,
# the Python package registry: PyTorch's wheels are several GB. The environment that it makes is
# kept in ${XDG_CACHE_HOME:-~/.cache}/convminer/axon. A DIR of your own is used as it is.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
here=$root/benches/axon
venv=
arguments=()

while (($#)); do
    case $1 in
        --venv)
            (($# > 1)) || { echo 'run.sh: --venv needs a folder' >&2; exit 2; }
            venv=$2
            shift
            ;;
        --venv=*) venv=${1#--venv=} ;;
        *) arguments+=("$1") ;;
    esac
    shift
done

requirements=("$root/tests/interop/requirements-10.5.0.txt" "$here/requirements.txt")

# The copy of the requirements is written last, so it says whether the environment is complete.
install() {
    local installed=$venv/installed.txt
    if cmp -s <(cat "${requirements[@]}") "$installed"; then return; fi
    if [[ ! -x $venv/bin/python ]]; then "${PYTHON:-python3}" -m venv "$venv"; fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$here/requirements.txt"
    cat "${requirements[@]}" >"$installed"
}

if [[ -z $venv ]]; then
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/axon
    install
elif [[ ! -x $venv/bin/python ]]; then
    install
fi

# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root/benches
exec "$venv/bin/python" -m axon ${arguments[@]+"${arguments[@]}"}
