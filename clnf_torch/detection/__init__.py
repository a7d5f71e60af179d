"""Floor 3: finding faces in frames, and judging whether landmarks lie on a face."""
