"""Learned numbers: the shape model, the patch experts, the landmark model that joins them, and bundles."""
