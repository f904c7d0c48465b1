"""convminer beside pandas and polars, on more rows than memory holds. `run.sh` runs it."""
