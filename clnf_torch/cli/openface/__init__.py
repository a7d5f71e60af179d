"""OpenFace's outputs: names of files, groups of columns, aligned faces."""
