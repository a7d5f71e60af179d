"""What trackers see in frames as compiled loops (numba), for the processor."""
