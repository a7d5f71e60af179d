"""``python -m clnf_torch`` is ``clnf-torch``."""

from clnf_torch.cli.main import main

main()
