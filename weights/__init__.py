"""Weights that may be passed on: our own bundles, with their licences; converted OpenFace models stay elsewhere."""
