"""A second shape of the face, by which finished fits are measured: it tells how deep landmarks lie."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.models.array_schema import WHOLE, Array
from clnf_torch.models.pdm import PDM
from clnf_torch.models.schema import Context, Fields, field

# Fewer do not tell a pose
LEAST_ANCHORS = 4


class DepthShape(nn.Module):
    """A PDM of sound depth, and the landmarks that it is placed by.

    A shape model that is learned from landmarks in images follows them well, but what it says about depth, of which one
    image tells little, may be wrong. Depths and head poses are therefore measured with this one, after the fit.

    Args:
        pdm: Of the same N landmarks, millimetres.
        anchors: Landmarks that place it, int64, shape (K,): those that lie where they seem to lie. The jaw's do not,
            which are set on the visible contour; nor do corners of the mouth, which move one by one.

    Raises:
        ValueError: There are fewer than `LEAST_ANCHORS` anchors, or others than landmarks.
    """

    def __init__(self, pdm: PDM, anchors: Tensor) -> None:
        super().__init__()
        last = pdm.num_landmarks - 1
        if len(anchors) < LEAST_ANCHORS or not bool(((anchors >= 0) & (anchors <= last)).all()):
            raise ValueError(
                f"anchors are {anchors.tolist()!s:.80}; expected at least {LEAST_ANCHORS} landmarks from 0 to {last}"
            )
        self.pdm = pdm
        self.anchors: Tensor
        self.register_buffer("anchors", anchors)
        known = torch.zeros(pdm.num_landmarks, dtype=torch.bool, device=anchors.device)
        self.known: Tensor  # (N,) bool: the anchors
        self.register_buffer("known", known.index_fill(0, anchors, value=True), persistent=False)

    def to_record(self) -> dict[str, Any]:
        """The shape as a bundle holds it, float64."""
        return {"pdm": self.pdm.to_record(), "anchors": self.anchors}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record` for N landmarks.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        last, own = context.sizes["N"] - 1, replace(context, sizes={"N": context.sizes["N"]})
        anchors = Array("K", dtypes=WHOLE, low=0, high=last, shortest=LEAST_ANCHORS)
        Fields({"anchors": anchors}).check(record, where, own)
        PDM.check_record(field(record, "pdm", where), f"{where}.pdm", own)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "DepthShape":
        """The shape in a record."""
        return cls(PDM.from_record(record["pdm"], dtype), record["anchors"])
