"""What pens, light and cameras do to the pictures that experts learn from."""

from dataclasses import dataclass

from torch import Tensor

from clnf_torch.training.dice import Dice
from clnf_torch.training.lighting import spoil
from clnf_torch.training.markings import draw_markings


@dataclass(frozen=True)
class Spoiling:
    """What happens to pictures before experts are shown them."""

    light: bool = True  # bad cameras and bad light
    marked: float = 0.0  # share of the faces with pen markings, which need 68 landmarks

    def __call__(self, grey: Tensor, landmarks: Tensor, dice: Dice) -> Tensor:
        """Pictures (B, S, S) in 0 to 255 of faces with landmarks (B, N, 2) in their pixels."""
        if self.marked:
            grey = draw_markings(grey, landmarks, dice.generator, share=self.marked)
        return spoil(grey, dice) if self.light else grey


CLEAN = Spoiling(light=False)
