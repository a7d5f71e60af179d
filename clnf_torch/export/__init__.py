"""Measured faces as tables in OpenFace's columns."""
