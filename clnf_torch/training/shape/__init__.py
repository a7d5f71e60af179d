"""Shape models from annotated landmarks and meshes of heads: PDM, Gaussians over shapes, depth shapes."""
