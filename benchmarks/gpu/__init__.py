"""``python -m benchmarks gpu``: whether a card computes what the CPU computes, how fast it is, and why no faster."""
