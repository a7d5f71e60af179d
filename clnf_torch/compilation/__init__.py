"""Compiling the loops that stand in for torch operations: when they may run, how they are compiled, kept and shared."""
