"""Random numbers of the usual distributions, from one generator, on the device where they are needed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampler:
    """Draws on the generator's own device, so that a seed means the same numbers wherever they are used."""

    generator: torch.Generator
    device: torch.device  # where the numbers are needed

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers of a range, float32."""
        drawn = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device) * (high - low) + low

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Gaussian numbers around 0, float32."""
        drawn = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device) * deviation

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform numbers of a range: as many between 1 and 2 as between 2 and 4, float32."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def bernoulli(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Bernoulli trials, bool; the probability of True may be a tensor that broadcasts to the shape."""
        return self.uniform(0, 1, *shape) < probability

    def integers(self, count: int, *shape: int) -> Tensor:
        """Whole numbers below a count, int64."""
        return self.uniform(0, count, *shape).long().clamp_max(count - 1)
