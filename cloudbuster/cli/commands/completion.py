"""``cloudbuster completion``."""

import click

from cloudbuster.cli.parsing import Command
from cloudbuster.cli.terminal import show

PROGRAM = "cloudbuster"


@click.command(cls=Command, short_help="Print the completion for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, *, shell: str) -> None:
    """Print what completes commands and options in a shell.

    Examples
    --------
    $ cloudbuster completion bash > ~/.local/share/bash-completion/completions/cloudbuster

    $ cloudbuster completion zsh > ~/.zfunc/_cloudbuster

    $ cloudbuster completion fish > ~/.config/fish/completions/cloudbuster.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is not None:
        program = complete(ctx.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
        show(program.source())
