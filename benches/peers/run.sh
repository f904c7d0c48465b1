#!/usr/bin/env bash
# Compares convminer with the models that other miners use, and writes the table into BENCHMARKS.md.
#
#   benches/peers/run.sh [--venv DIR] [OPTION...]       (--help shows the other options)
#
# Needs a release build of convminer, Python 3.11 or later with venv, and, the first time, the Python
# package registry: PyTorch's wheels are several GB. The environment that it makes is kept in
# ${XDG_CACHE_HOME:-~/.cache}/convminer/peers. A DIR of your own, if it exists, is used as it is.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
here=$root/benches/peers
cache=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/peers
venv=
slow=false
arguments=()

while (($#)); do
    case $1 in
        --venv)
            (($# > 1)) || { echo 'run.sh: --venv needs a folder' >&2; exit 2; }
            venv=$2
            shift
            ;;
        --venv=*) venv=${1#--venv=} ;;
        *)
            if [[ $1 == --slow ]]; then slow=true; fi
            arguments+=("$1")
            ;;
    esac
    shift
done

requirements=("$here/requirements.txt")
if $slow; then requirements+=("$here/requirements-slow.txt"); fi

# The copy of the requirements is written last, so it says whether the environment is complete.
install() {
    local installed=$venv/installed.txt
    if cmp -s <(cat "${requirements[@]}") "$installed"; then return; fi
    if [[ ! -x $venv/bin/python ]]; then "${PYTHON:-python3}" -m venv "$venv"; fi
    local flags=()
    for file in "${requirements[@]}"; do flags+=(-r "$file"); done
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${flags[@]}"
    cat "${requirements[@]}" >"$installed"
}

# With and without --slow are two environments: neither makes the other install anything again.
if [[ -z $venv ]]; then
    venv=$cache/default
    if $slow; then venv=$cache/slow; fi
    install
elif [[ ! -x $venv/bin/python ]]; then
    install
fi

# For what has no option for it. A thread that waits must not keep a core from who works.
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MKL_NUM_THREADS=2 POLARS_MAX_THREADS=2
export OMP_WAIT_POLICY=passive
# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root/benches
# A FutureWarning of a dependency of a dependency says nothing about the figures.
export PYTHONWARNINGS=ignore
exec "$venv/bin/python" -m peers ${arguments[@]+"${arguments[@]}"}
