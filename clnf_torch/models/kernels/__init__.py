"""Networks as compiled kernels: `cpu`, loops by numba for patch experts and face detectors; `cuda`, CEN by Triton.

The torch forms in `clnf_torch.models` define what they compute, and run wherever the kernels cannot;
`clnf_torch.models.compiled` chooses.
"""
