"""Finds landmarks in the images of a folder, which the worker processes of a `DataLoader` read and detect faces in.

    python loader_workers.py FOLDER [WORKERS]

The workers are started with "spawn". A forked worker may hang: it has copies of OpenMP's locks, but not of its threads.
"""

import sys
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

import clnf_torch


class ImagesWithFaces(Dataset[tuple[str, torch.Tensor, torch.Tensor]]):
    """The images of a folder, and the boxes of the faces in them.

    Args:
        folder: Where the images are.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".png"})
        self.finder: clnf_torch.FaceDetector | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor, torch.Tensor]:
        if self.finder is None:  # in each worker, when it is first asked
            self.finder = clnf_torch.load_face_detector()
        image = cv2.cvtColor(cv2.imread(str(self.paths[index])), cv2.COLOR_BGR2RGB)
        frames = torch.from_numpy(image).permute(2, 0, 1)[None]
        with torch.inference_mode():
            boxes = self.finder.detect(frames).boxes
        return self.paths[index].name, frames, boxes.clone()


def main(folder: Path, workers: int) -> None:
    """Prints the name of each image, and of each face its confidence and the tip of the nose."""
    detector = clnf_torch.load()
    context = "spawn" if workers else None
    for name, frames, boxes in DataLoader(
        ImagesWithFaces(folder), batch_size=None, num_workers=workers, multiprocessing_context=context
    ):
        with torch.inference_mode():
            found = detector.fit(frames, boxes, torch.zeros(len(boxes), dtype=torch.int64))
        for confidence, landmarks in zip(found.confidence.tolist(), found.landmarks.tolist(), strict=True):
            print(f"{name}: confidence {confidence:.2f}, nose at {landmarks[30][0]:.1f}, {landmarks[30][1]:.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2)
