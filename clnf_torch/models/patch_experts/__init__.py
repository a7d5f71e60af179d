"""Patch experts: small regressors, one per landmark and view, that say where around it their landmark might be."""
