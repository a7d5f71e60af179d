"""What the commands of ``clnf-torch`` do, one file for each; loaded when the command runs."""
