"""Evaluation on annotated faces: errors, failure rates, groups of faces."""
