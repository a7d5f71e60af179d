"""Floor 7: annotated faces, what is done to them, and how well models find them; used by the command line alone."""
