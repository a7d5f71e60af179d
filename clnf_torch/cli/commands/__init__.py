"""One file for each command of ``clnf-torch``."""
