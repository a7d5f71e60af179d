"""Floor 2: from images to parameters. Areas, mean shift, NU-RLMS, the multi-scale fit, rotation hypotheses."""
