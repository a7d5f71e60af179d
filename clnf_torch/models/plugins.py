"""What other packages register: families of patch experts, landmark models, and face detectors, by entry points."""

from importlib.metadata import entry_points
from typing import Any

FACE_DETECTORS = "clnf_torch.face_detectors"
"""Group of entry points: makers of face detectors."""
PATCH_EXPERTS = "clnf_torch.patch_experts"
"""Group of entry points: families of patch experts, subclasses of `Experts`."""
LANDMARK_MODELS = "clnf_torch.landmark_models"
"""Group of entry points: functions that give a landmark model, or the path of a bundle."""


class PluginError(ValueError):
    """What another package registers cannot be used; the message is one line."""


def registered_names(group: str) -> tuple[str, ...]:
    """The names that installed packages register in a group, sorted."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def registered(group: str, name: str) -> Any:
    """What is registered under a name, imported now; None where nothing is.

    Args:
        group: One of the groups above.
        name: The name of the entry point.

    Raises:
        PluginError: It cannot be imported, or two packages register different things under the name.
    """
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        raise PluginError(f"{name}: several packages register it in {group}: {', '.join(sorted(found))}; remove one")
    (entry,) = found.values()
    try:
        return entry.load()
    # Whatever the import of another package raises
    except Exception as error:
        reason = str(error).partition("\n")[0][:120]
        raise PluginError(
            f"{name}: {entry.value}, registered in {group}, cannot be imported: {type(error).__name__}: {reason}"
        ) from error
