"""`convminer serve` for a long time, under load, with reloads and panics."""
