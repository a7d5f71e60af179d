"""Pure functions of tensors: rotations, similarities, gray images, sampling, warps, cameras, boxes."""
