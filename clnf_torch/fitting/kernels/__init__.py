"""The searches of a fit as compiled kernels: `cpu`, numba's loops over faces; `cuda`, Triton's programs of one face.

The torch forms of the same names, in `clnf_torch.fitting`, define what they compute, and run wherever the kernels
cannot; `clnf_torch.fitting.compiled` chooses. Files of one name in both folders hold the same stage.
"""
