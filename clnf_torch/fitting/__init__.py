"""Floor 2: from pictures to parameters. Areas, mean shift, NU-RLMS, the multi-scale fit, rotation hypotheses."""
