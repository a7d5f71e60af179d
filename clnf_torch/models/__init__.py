"""Floor 1: learned numbers. The shape model, the patch experts, the landmark model that joins them, and their file."""
