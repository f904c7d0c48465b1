#!/usr/bin/env bash
# Fuzzes convminer with libFuzzer, one target after the other.
#
#   fuzz/run.sh [--seconds N] [TARGET...]     each target for N seconds: 600 unless told
#   fuzz/run.sh --reproduce FILE TARGET       one input, with a backtrace
#   fuzz/run.sh --list                        the targets
#
# Starts from the inputs in fuzz/corpus, and from those that it found before: it keeps them, logs and
# inputs that fail under XDG_CACHE_HOME/convminer/fuzz, outside of the checkout. Needs a C++ compiler.
# Dependencies come from the target folder of other builds, so they are not compiled again.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")

usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

seconds=600
reproduce=
targets=()
while (($#)); do
    case $1 in
    --list) exec ls "$here/corpus" ;;
    --seconds) seconds=${2:?--seconds needs a number} && shift 2 ;;
    --reproduce) reproduce=$(realpath "${2:?--reproduce needs a file}") && shift 2 ;;
    -*) usage ;;
    *) targets+=("$1") && shift ;;
    esac
done
for target in "${targets[@]}"; do
    [[ -d "$here/corpus/$target" ]] || { printf 'no target %s\n' "$target" >&2 && usage; }
done
if [[ -n "$reproduce" ]] && ((${#targets[@]} != 1)); then usage; fi
if ((${#targets[@]} == 0)); then mapfile -t targets < <(ls "$here/corpus"); fi

kept=${XDG_CACHE_HOME:-$HOME/.cache}/convminer/fuzz
built=${CARGO_TARGET_DIR:-$here/../target}/release/convminer-fuzz
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../target}
export RUSTC_WORKSPACE_WRAPPER=$here/rustc-coverage.sh
(cd "$here/.." && cargo build --locked --release -p convminer-fuzz)

work=$(mktemp -d)
# Targets write a file an input, and files in memory are quick.
memory=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work" "$memory"' EXIT
export TMPDIR=$memory
# A build that comes meanwhile must not replace the program.
binary=$work/convminer-fuzz
cp "$built" "$binary"

if [[ -n "$reproduce" ]]; then
    CONVMINER_FUZZ_TARGET=${targets[0]} RUST_BACKTRACE=1 "$binary" "$reproduce"
    exit
fi

# fuzz TARGET: false when an input failed.
fuzz() {
    local target=$1 log=$kept/$1.log dictionary=$here/dictionaries/$1.dict
    local found=$kept/corpus/$target crashes=$kept/crashes/$target
    mkdir -p "$found" "$crashes"
    local options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$crashes/")
    if [[ -f "$dictionary" ]]; then options+=(-dict="$dictionary"); fi
    local status=0
    CONVMINER_FUZZ_TARGET=$target "$binary" "${options[@]}" "$found" "$here/corpus/$target" \
        >"$log" 2>&1 || status=$?
    if ((status)); then
        tail -n 60 "$log"
        local input
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        printf '%s FAILED; again with: fuzz/run.sh --reproduce %s %s\n' "$target" "$input" "$target"
        return 1
    fi
    local executed
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # The last line of progress: `#N DONE cov: EDGES ft: FEATURES corp: INPUTS/BYTES ...`
    local progress
    progress=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -n 1)
    printf '%-10s  no failure in %s inputs; %s\n' "$target" "$executed" "$progress"
}

failed=()
for target in "${targets[@]}"; do
    fuzz "$target" || failed+=("$target")
done
if ((${#failed[@]})); then
    printf 'FAILED: %s; logs are in %s\n' "${failed[*]}" "$kept" >&2
    exit 1
fi
