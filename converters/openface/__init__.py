"""Readers of OpenFace 2.2's model files, one kind of file each."""
