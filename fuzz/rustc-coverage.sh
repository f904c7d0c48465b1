#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER of a fuzzing build: compiles convminer and its fuzz targets, and no
# dependency, with the coverage that libFuzzer is guided by, and with the checks of a debug build.
# These are options of a stable compiler; cargo keeps what is built with a wrapper apart.
#
# More than one code generation unit would lose counters: the linker keeps one section of a name.
rustc=$1
shift
exec "$rustc" "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 \
    -Cdebug-assertions \
    -Coverflow-checks
