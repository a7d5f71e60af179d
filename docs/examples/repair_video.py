"""Repairs another method's landmarks in a video.

    python repair_video.py VIDEO LANDMARKS.csv OUT.csv [MODEL.pt]

LANDMARKS.csv has a column `frame`, counted from 1, and the columns x_0 to x_67 and y_0 to y_67 in pixels, as in
OpenFace's tables. Cells that are not known may be empty or NaN. OUT.csv has the same rows with repaired landmarks.
"""

import csv
import sys
from pathlib import Path

import cv2
import torch

import clnf_torch
from clnf_torch.quality import RepairStatistics
from clnf_torch.quality.repair import adjacent_frames

BATCH = 16  # frames that are worked on together
COLUMNS = [f"{axis}_{point}" for axis in "xy" for point in range(68)]


def read_table(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Frame numbers (B,), and landmarks (B, 68, 2)."""
    with path.open(newline="") as file:
        rows = [{name.strip(): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    frame = torch.tensor([int(float(row["frame"])) for row in rows], dtype=torch.int64)
    values = [[float(row[name].strip() or "nan") for name in COLUMNS] for row in rows]
    return frame, torch.tensor(values).view(-1, 2, 68).mT.contiguous()


def write_table(path: Path, frame: torch.Tensor, landmarks: torch.Tensor, refitted: torch.Tensor) -> None:
    """The same table again, and which rows were fitted again."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "refitted", *COLUMNS])
        for number, again, points in zip(frame.tolist(), refitted.tolist(), landmarks, strict=True):
            table.writerow([number, int(again), *(f"{value:.3f}" for value in points.mT.flatten().tolist())])


def read_frames(path: Path):
    """Batches of frames (F, 3, H, W), RGB."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(torch.from_numpy(read[1][..., ::-1].copy()).permute(2, 0, 1))
        if len(frames) == BATCH:
            yield torch.stack(frames)
            frames = []
    if frames:
        yield torch.stack(frames)


def main(video: Path, table: Path, out: Path, model: Path | None = None) -> RepairStatistics:
    """Repairs a table of landmarks batch by batch, and prints what became of them."""
    detector = clnf_torch.load(model, "cuda" if torch.cuda.is_available() else "cpu")
    frame, landmarks = read_table(table)
    previous, following = adjacent_frames(landmarks, frame)  # of one face; several need their identity too
    repaired, refitted = landmarks.clone(), torch.zeros(len(frame), dtype=torch.bool)
    total, first = RepairStatistics(), 1
    for frames in read_frames(video):
        rows = ((frame >= first) & (frame < first + len(frames))).nonzero().squeeze(1)
        done = clnf_torch.repair_landmarks(
            landmarks[rows],
            detector,
            frames,
            frame[rows] - first,
            previous=previous[rows],
            following=following[rows],
        )
        repaired[rows], refitted[rows] = done.landmarks, done.refitted.cpu()
        total, first = total + done.statistics, first + len(frames)
    write_table(out, frame, repaired, refitted)
    print(total)
    return total


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
