"""``clnf-torch train``: the commands that make models."""

import typer

from clnf_torch.cli.train_cen import cen
from clnf_torch.cli.train_finetune import finetune
from clnf_torch.cli.train_model import model

train = typer.Typer(
    help="Make models from annotated faces.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
for command in (model, cen, finetune):
    train.command()(command)
