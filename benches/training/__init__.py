"""convminer's training beside PyTorch's, of the same networks. `run.sh` runs it."""
