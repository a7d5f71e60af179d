"""Triton's programs for patch experts on CUDA; `clnf_torch.models.compiled` chooses."""
