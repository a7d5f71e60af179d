"""Annotated faces, augmentation, training and evaluation of models; no fit needs it."""
