"""Files: what may be read, how they are written, shared and named; and archives of tensors."""
