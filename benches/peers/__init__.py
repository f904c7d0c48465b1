"""convminer beside the models that other miners use, on the same rows. `run.sh` runs it."""
