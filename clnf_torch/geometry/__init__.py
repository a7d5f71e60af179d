"""Floor 0: pure functions of tensors. Rotations, similarities, grays, and reading images between pixels."""
