"""The searches of a fit as compiled kernels: `cpu`, loops over faces by numba.

The torch forms of the same names, in `clnf_torch.fitting`, define what they compute, and run wherever the kernels
cannot; `clnf_torch.fitting.compiled` chooses.
"""
