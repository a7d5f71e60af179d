"""Many images in one run: what became of each, and their numbers."""
