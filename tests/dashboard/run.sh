#!/usr/bin/env bash
# Opens the dashboard of a real `convminer serve` in a headless Chromium and looks at it.
#
#   tests/dashboard/run.sh BINARY [CHECKPOINT [PICTURES]]
#
# Without CHECKPOINT, the latest in checkpoints/ answers. With PICTURES, screenshots are left in that
# folder. Needs Python 3.11 or later, and Chromium, which it tries to install where there is none.
set -euo pipefail

if (($# < 1)); then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
python=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1

find_browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name"; then return; fi
    done
    return 1
}

if ! browser=$(find_browser); then
    { apt-get update -q && apt-get install -q -y chromium; } >&2 || true
    if ! browser=$(find_browser); then
        echo 'SKIPPED: there is no Chromium here, and apt-get could not install it'
        exit 0
    fi
fi

arguments=(--binary "$(realpath "$1")" --browser "$browser")
if (($# > 1)); then arguments+=(--checkpoint "$(realpath "$2")"); fi
if (($# > 2)); then arguments+=(--pictures "$(realpath "$3")"); fi
"$python" "$here/dashboard.py" "${arguments[@]}"
