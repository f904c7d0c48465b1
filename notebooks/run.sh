#!/usr/bin/env bash
# Executes the notebooks with a real kernel; a cell that fails is a failure.
#
#   notebooks/run.sh BINARY [OUT_FOLDER]
#
# Leaves the executed notebooks and their HTML in OUT_FOLDER, if it is named. CONVMINER_DATA and
# CONVMINER_CHECKPOINT name other conversations and a checkpoint, as README.md says.
# Makes a Python environment below the cache unless it is there already: needs Python 3.11 or later
# with venv, and the Python package registry the first time.
set -euo pipefail

if (($# < 1)); then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
requirements=$here/requirements.txt
venv=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/notebooks
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out
if (($# > 1)); then out=$2; fi
mkdir -p "$out"
out=$(realpath "$out")

# The kernels run in this folder, wherever this script was called.
CONVMINER=$(realpath "$1")
export CONVMINER CONVMINER_DEVICE=${CONVMINER_DEVICE:-cpu}
if [[ -n "${CONVMINER_DATA:-}" ]]; then export CONVMINER_DATA=$(realpath "$CONVMINER_DATA"); fi
if [[ -n "${CONVMINER_CHECKPOINT:-}" ]]; then
    export CONVMINER_CHECKPOINT=$(realpath "$CONVMINER_CHECKPOINT")
fi
# Nothing is left in the checkout or at home, and no setting of the user's Jupyter is read.
export PYTHONDONTWRITEBYTECODE=1 TMPDIR=$work
export JUPYTER_NO_CONFIG=1 JUPYTER_DATA_DIR=$work/jupyter IPYTHONDIR=$work/ipython
export JUPYTER_RUNTIME_DIR=$work/runtime JUPYTER_PREFER_ENV_PATH=1 MPLCONFIGDIR=$venv/matplotlib
# Or a kernel that is started complains about frozen modules, which matter to debuggers alone.
export PYDEVD_DISABLE_FILE_VALIDATION=1

# The copy of the requirements is written last, so it says whether the environment is complete.
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$venv/requirements.txt"
fi

"$venv/bin/python" "$here/clean.py" --check "$here"/*.ipynb
for notebook in "$here"/*.ipynb; do
    name=$(basename "$notebook" .ipynb)
    printf -- '-- %s\n' "$name"
    # Encrypted, for other users of a machine can connect to a kernel's ports.
    "$venv/bin/jupyter-nbconvert" --log-level WARN --to notebook --execute \
        --ExecutePreprocessor.timeout=600 --KernelManager.transport_encryption=auto \
        --output-dir "$out" "$notebook"
    # Its warnings are about pictures without a text beside them.
    "$venv/bin/jupyter-nbconvert" --log-level ERROR --to html "$out/$name.ipynb"
done
