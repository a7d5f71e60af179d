"""Floor 6: measured faces as tables, in OpenFace's columns."""
