"""The loops that `clnf_torch.fitting.compiled` calls."""

from clnf_torch.fitting.kernels.compiler import f32
from clnf_torch.fitting.kernels.crops import cut_areas
from clnf_torch.fitting.kernels.search import search_landmarks, search_responses

__all__ = ["cut_areas", "f32", "search_landmarks", "search_responses"]
