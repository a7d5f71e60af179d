"""Validators: networks that tell by the face between landmarks whether a fit is right, and their training."""
