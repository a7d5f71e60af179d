"""Annotated faces, augmentation, training and evaluation of models; used by the command line alone."""
