"""What is measured of faces as compiled loops (numba), for the processor, in float64."""
