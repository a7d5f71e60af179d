"""Speed and memory of the detector, as medians of repeated runs and as shares of what the machine can do."""
