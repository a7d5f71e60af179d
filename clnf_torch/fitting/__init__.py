"""Floor 2: from pictures to parameters. Areas, mean shift, the NU-RLMS step, the multi-scale fit and its rotation hypotheses."""
