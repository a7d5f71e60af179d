"""Gaze by what is seen: a small network that looks at both eyes, and at the face around them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.geometry.constants import constant, select_landmarks
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS, STEADY
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.array_schema import Array
from clnf_torch.models.layer_schema import check_network
from clnf_torch.models.layers import build_network, layer_records
from clnf_torch.models.patch_experts.base import CropRequest
from clnf_torch.models.schema import Context, Fields, SchemaError

# What is cut out of the upright face: squares of so many pixels, and pixels per millimetre
EYE_SIDE, EYE_SCALE = 48, 1.2
FACE_SIDE, FACE_SCALE = 48, 0.35
# Rows of an eye's square that the network looks at: lids, not brows
EYE_ROWS = slice(6, 42)
# Added to the standard deviation of gray levels that these are divided by
LEAST_CONTRAST = 8.0
# Millimetres, beyond those of any face
FARTHEST = 500.0
# Faces that are looked at together, so that activations stay small
CPU_FACES, CUDA_FACES = 32, 1024


class GazeNetwork(nn.Module):
    """Where eyes look, from their images.

    A gaze by geometry needs the eyeball's centre, which cannot be seen and differs from person to person, and the pose
    of the head, whose errors add to its own. This network has learned from rendered faces what irises between their
    lids look like, and how the face around them is turned. A mirrored face has the mirrored gaze.

    Args:
        places: Where the landmarks of `STEADY` lie in the upright face, millimetres, shape (K, 2).
        eye: Maps images (B, 1, h, EYE_SIDE) of the eye further left, h rows of `EYE_ROWS`, to E numbers each.
        face: Maps images (B, 1, FACE_SIDE, FACE_SIDE) to F numbers each.
        look: Maps 2 E + F numbers, of an eye, of the other one and of the face, to a vector (B, 3) along the gaze.
    """

    def __init__(self, places: Tensor, eye: nn.Module, face: nn.Module, look: nn.Module) -> None:
        super().__init__()
        self.places: Tensor
        self.register_buffer("places", places)
        self.eye, self.face, self.look = eye, face, look

    def to_record(self) -> dict[str, Any]:
        """The network as a bundle holds it, its weights in float16.

        Raises:
            ValueError: It has layers that bundles do not hold.
        """
        networks = {name: [_halved(layer) for layer in layer_records(part)] for name, part in self.named_children()}
        return {"places": self.places.double(), **networks}

    @classmethod
    def check_record(cls, record: Any, where: str, context: Context) -> None:
        """Refuses what is no record of `to_record`; the number N of landmarks is known.

        Raises:
            SchemaError: Something in it is not what it should be.
        """
        Fields({"places": Array(len(STEADY), 2, low=-FARTHEST, high=FARTHEST)}).check(record, where, context.inner())
        if context.sizes["N"] != NUM_LANDMARKS:
            raise SchemaError(
                f"{where}: expected a model of {NUM_LANDMARKS} landmarks, found one of {context.sizes['N']}"
            )
        sizes = {"eye": (1, EYE_ROWS.stop - EYE_ROWS.start, EYE_SIDE), "face": (1, FACE_SIDE, FACE_SIDE)}
        numbers = {
            name: check_network(record.get(name), f"{where}.{name}", size, context) for name, size in sizes.items()
        }
        if any(len(answer) != 1 for answer in numbers.values()):
            raise SchemaError(f"{where}: expected networks of eye and face that end in numbers, found maps {numbers}")
        count = 2 * numbers["eye"][0] + numbers["face"][0]
        if (answer := check_network(record.get("look"), f"{where}.look", (count,), context)) != (3,):
            raise SchemaError(f"{where}.look: expected a network of 3 numbers, found {answer}")

    @classmethod
    def from_record(cls, record: Mapping[str, Any], dtype: torch.dtype) -> "GazeNetwork":
        """The network in a record."""
        networks = {name: build_network(record[name], dtype) for name in ("eye", "face", "look")}
        return cls(record["places"].to(dtype), **networks)

    def crop_requests(self, landmarks: Tensor, middles: Tensor) -> tuple[CropRequest, CropRequest]:
        """What the network wants to see of faces: both eyes, and the face.

        Args:
            landmarks: Pixels, shape (B, 68, 2).
            middles: Of the corners of both eyes, by the eyes' own landmarks, shape (B, 2, 2). Those of the face lie
                where its annotators put them, those of rendered faces, which the network was trained on, elsewhere.
        """
        steady = select_landmarks(landmarks, STEADY)
        to_image = invert_similarity(similarity_between(steady, self.places.expand_as(steady)))
        eyes = CropRequest(centers=middles, to_image=to_image / EYE_SCALE, width=EYE_SIDE, smooth=True)
        middle = steady.mean(1, keepdim=True)
        return eyes, CropRequest(centers=middle, to_image=to_image / FACE_SCALE, width=FACE_SIDE, smooth=True)

    def forward(self, eyes: Tensor, face: Tensor, to_image: Tensor) -> Tensor:
        """Directions of both eyes.

        Args:
            eyes: What the first of `crop_requests` shows, gray levels, shape (B, 2, EYE_SIDE, EYE_SIDE).
            face: What the second shows, shape (B, 1, FACE_SIDE, FACE_SIDE).
            to_image: Of either request, shape (B, 2, 2).

        Returns:
            Unit vectors in the image's axes, as if each eye were in the middle of the image: (0, 0, -1) looks along the
            line from the eye to the camera. The eye further left first, shape (B, 2, 3); NaN where landmarks are not
            finite, or lie in one place.
        """
        some = CPU_FACES if eyes.device.type == "cpu" else CUDA_FACES
        blocks = zip(eyes.split(some), face.split(some), strict=True)
        directions = torch.cat([self.directions(*self.describe(*block)) for block in blocks])
        upright = upright_of(to_image)
        found = torch.cat((directions[..., :2] @ upright, directions[..., 2:]), -1)
        return torch.where(upright.isfinite().all(-1, keepdim=True), found, torch.nan)

    def describe(self, eyes: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of each eye (B, 2, E), and of the face as each eye has it around (B, 2, F); as of `forward`.

        All that is further right is mirrored, so that each eye is the one further left.
        """
        left, right = _normalised(eyes[:, :, EYE_ROWS]).unbind(1)
        around = _normalised(face[:, 0])
        return _described(self.eye, left, right.flip(-1)), _described(self.face, around, around.flip(-1))

    def directions(self, seen: Tensor, around: Tensor) -> Tensor:
        """Directions (B, 2, 3) in the axes of the crops, from the numbers of `describe`."""
        numbers = torch.cat((seen, seen.flip(1), around), -1)
        vectors = self.look(numbers.flatten(0, 1)).unflatten(0, (-1, 2))
        vectors = vectors * constant(((1.0, 1.0, 1.0), (-1.0, 1.0, 1.0)), vectors)
        return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


def upright_of(to_image: Tensor) -> Tensor:
    """The rotations (B, 2, 2) from the image's axes to those of crops, from the scaled ones (B, 2, 2) back."""
    return to_image.mT / torch.linalg.vector_norm(to_image[:, :1], dim=-1, keepdim=True)


def _described(network: nn.Module, left: Tensor, right: Tensor) -> Tensor:
    """The numbers (B, 2, E) of two images (B, H, W) of each face."""
    numbers: Tensor = network(torch.stack((left, right), 1).flatten(0, 1)[:, None])
    return numbers.unflatten(0, (-1, 2))


def _normalised(gray: Tensor) -> Tensor:
    """Gray levels (..., H, W) without their mean, by their contrast."""
    centred = gray - gray.mean((-2, -1), keepdim=True)
    # A root has no gradient at 0, where there is no contrast at all
    variance = centred.square().mean((-2, -1), keepdim=True).clamp_min(torch.finfo(gray.dtype).tiny)
    return centred / (variance.sqrt() + LEAST_CONTRAST)


def _halved(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's record with its weights in float16."""
    return {name: value.half() if isinstance(value, Tensor) else value for name, value in layer.items()}
