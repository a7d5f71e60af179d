"""What trackers see in frames as compiled kernels: `cpu`, loops by numba; the torch forms define what they compute."""
