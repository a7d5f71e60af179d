"""``clnf-torch info``: what is inside a bundle."""

from clnf_torch.cli.console import failures_exit_with, say
from clnf_torch.cli.options import Bundle
from clnf_torch.cli.summary import describe, describe_sources
from clnf_torch.models.bundle import load_bundle


def info(bundle: Bundle) -> None:
    """Print what is inside a bundle. That is its shape model, experts, what it was made from, and its licence."""
    with failures_exit_with(1):
        contents = load_bundle(bundle)
        for line in (*describe(contents, bundle), *describe_sources(contents)):
            say(line)
