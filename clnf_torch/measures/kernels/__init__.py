"""What is measured of faces as compiled kernels: `cpu`, loops by numba; the torch forms define what they compute."""
