"""Data augmentation: what training faces are put through, so that the model meets more than the data set holds."""
