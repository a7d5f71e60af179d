"""How far each landmark is expected to be from where people would put it, by the spread of its response map."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.array_schema import Array
from clnf_torch.models.schema import Context, Fields

# Millimetres: what is added to a spread, whose logarithm is taken
LEAST_SPREAD = 0.05
# Of the logarithms of errors in millimetres, and of the slope, beyond those of any model
LARGEST = 20.0


class LandmarkErrorModel(nn.Module):
    """A power law: the expected error of a landmark grows with the spread of its responses.

    Args:
        log_error: Logarithm of a landmark's error at a spread of one millimetre, shape (N,).
        slope: Of the logarithm of the error over that of the spread, shape ().
    """

    def __init__(self, log_error: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.log_error = nn.Parameter(log_error, requires_grad=False)
        self.slope = nn.Parameter(slope, requires_grad=False)

    @classmethod
    def of_spreads(cls, landmarks: int, like: Tensor) -> "LandmarkErrorModel":
        """The one whose errors are the spreads themselves."""
        return cls(like.new_zeros(landmarks), like.new_ones(()))

    def forward(self, spreads: Tensor) -> Tensor:
        """Expected errors, millimetres of the upright face, of landmarks with such spreads, shape (..., N)."""
        return (self.log_error + self.slope * (spreads + LEAST_SPREAD).log()).exp()

    def to_record(self) -> dict[str, Tensor]:
        """The numbers as a bundle holds them, float64."""
        return {name: value.detach().double() for name, value in self.named_parameters()}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record` for N landmarks.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        fields = {"log_error": Array("N", low=-LARGEST, high=LARGEST), "slope": Array(low=-LARGEST, high=LARGEST)}
        Fields(fields, closed=True).check(record, where, context)

    @classmethod
    def from_record(cls, record: Mapping[str, Tensor], dtype: torch.dtype) -> "LandmarkErrorModel":
        """What is in a record."""
        return cls(**{name: value.to(dtype) for name, value in record.items()})
