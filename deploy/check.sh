#!/usr/bin/env bash
# Checks the syntax of every file in this folder, and that they fit the program.
#
#   deploy/check.sh BINARY
#
# Makes a Python environment below the cache unless it is there already: needs Python 3.11 or later
# with venv, and the Python package registry the first time; systemd-analyze and promtool come from
# the packages `systemd` and `prometheus` of Debian where they are missing.
set -euo pipefail
if (($# != 1)); then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
binary=$(realpath "$1")
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
venv=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/deploy
python=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1
cd "$here"

missing=()
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v promtool >/dev/null || missing+=(prometheus)
if ((${#missing[@]})); then
    apt-get update -q
    # Packages must not start services on the machine that checks.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
# The copy of the requirements is written last, so it says whether the environment is complete.
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$venv/requirements.txt"
fi

# Debian's packages of a release need no versions: there is no other.
"$venv/bin/hadolint" Dockerfile
bash -n healthcheck.sh check.sh
"$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml

promtool check config prometheus/prometheus.yml
promtool test rules prometheus/alerts_test.yml

# systemd looks for the program and for the README where they are installed.
unit=$(mktemp -d)
trap 'rm -rf "$unit"' EXIT
sed -e "s|/usr/local/bin/convminer|$binary|" -e '/^Documentation=/d' convminer.service \
    >"$unit/convminer.service"
systemd-analyze verify --man=no --recursive-errors=no "$unit/convminer.service"
# 10 is a service without protection, 0 one that can do nothing.
systemd-analyze security --no-pager --offline=true --threshold=15 "$unit/convminer.service" |
    tail -n 1

"$venv/bin/python" check.py "$binary"
