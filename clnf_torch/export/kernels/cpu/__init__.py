"""Text of tables as compiled loops (numba), for the processor."""
