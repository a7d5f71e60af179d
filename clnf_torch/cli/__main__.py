"""``python -m clnf_torch.cli`` is ``clnf-torch``."""

from clnf_torch.cli.main import main

main()
