"""From images to parameters: areas of interest, mean shift, NU-RLMS, the multi-scale fit, rotation hypotheses."""
