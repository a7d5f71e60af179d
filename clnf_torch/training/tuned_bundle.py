"""A bundle with tuned experts in the place of its own; what it came from and its licence stay."""

from collections.abc import Mapping
from typing import Any, cast

from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.bundles import model_record, pdm_record


def tuned_bundle(bundle: Mapping[str, Any], model: LandmarkModel, faces: str) -> dict[str, Any]:
    """A bundle with the experts and the shape of a tuned model in the place of its own.

    What the way back to the very files of OpenFace needs is left out, since they are other experts now. Its licence
    stays in force.

    Args:
        bundle: From `load_bundle`: what the model was built from.
        model: The tuned model, on the CPU.
        faces: What it was tuned on, in words.
    """
    experts = model_record(model)["experts"] if model.family == "joint" else _cen_records(bundle["model"], model)
    return {
        **bundle,
        "model": {**bundle["model"], "pdm": pdm_record(model.pdm), "experts": experts},
        "sources": [*bundle["sources"], {"name": faces}],
    }


def _cen_records(record: Mapping[str, Any], model: LandmarkModel) -> list[dict[str, Any]]:
    """The records of CEN experts with other weights."""
    records = []
    for index, scale in enumerate(record["experts"]):
        tuned = [
            {
                "activations": stack["activations"],
                "weights": [weight.detach().float() for weight in own.weights],
                "biases": [bias.detach().float() for bias in own.biases],
            }
            for stack, own in zip(scale["stacks"], cast(Any, model.experts_at(index)).stacks, strict=True)
        ]
        records.append({name: value for name, value in scale.items() if name != "openface"} | {"stacks": tuned})
    return records
