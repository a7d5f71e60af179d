"""Floor 0: pure functions of tensors. Rotations, similarities, greys, and reading pictures between pixels."""
