"""Floor 0: pure functions of tensors. Rotations, similarities, greys, and the reading of pictures at fractional positions."""
