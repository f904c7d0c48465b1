#!/usr/bin/env bash
# Lets convminer, pandas and polars load generated tables of up to 50 million rows, make the same
# inputs of them and learn their scale, each within a limit of memory, and convminer also train on
# them; writes the table into BENCHMARKS.md.
#
#   benches/streaming/run.sh [--venv DIR] [OPTION...]       (--help shows the other options)
#
# Needs Linux, a release build of convminer, Python 3.11 or later with venv, room on the disk (about
# half a gigabyte a million rows at most, all of it given back) and, the first time, the Python
# package registry. The environment that it makes is kept in
# ${XDG_CACHE_HOME:-~/.cache}/convminer/streaming. A DIR of your own, if it exists, is used as it is.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
requirements=$root/benches/streaming/requirements.txt
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
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/streaming
    install
elif [[ ! -x $venv/bin/python ]]; then
    install
fi

# Nothing is left in the checkout.
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root/benches
exec "$venv/bin/python" -m streaming ${arguments[@]+"${arguments[@]}"}
