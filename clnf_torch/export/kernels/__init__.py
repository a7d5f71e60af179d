"""Text of tables as compiled kernels: `cpu`, loops by numba; numpy's and Python's forms define what they write."""
