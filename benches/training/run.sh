#!/usr/bin/env bash
# Trains the same networks on the same rows with convminer and with PyTorch, by turns: rows a second
# at several batch sizes on the CPU and, where there is one, on a GPU. Writes the table into
# BENCHMARKS.md.
#
#   benches/training/run.sh [--venv DIR] [OPTION...]       (--help shows the other options)
#
# Needs a release build of convminer, Python 3.11 or later with venv, and, the first time, the Python
# package registry: PyTorch's wheels are several GB. The environment that it makes is kept in
# ${XDG_CACHE_HOME:-~/.cache}/convminer/training. A DIR of your own, if it exists, is used as it is.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
requirements=$root/benches/training/requirements.txt
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

# The copy of the requirements is written last, so it says whether the environment is complete.
install() {
    local installed=$venv/installed.txt
    if cmp -s "$requirements" "$installed"; then return; fi
    if [[ ! -x $venv/bin/python ]]; then "${PYTHON:-python3}" -m venv "$venv"; fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$installed"
}

if [[ -z $venv ]]; then
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/training
    install
elif [[ ! -x $venv/bin/python ]]; then
    install
fi

# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root/benches
exec "$venv/bin/python" -m training ${arguments[@]+"${arguments[@]}"}
