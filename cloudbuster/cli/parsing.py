"""How a command line is read, and how its help is laid out.

Switches work bare, negated and with a value; lists take several values in a row. Click knows
neither, so both are rewritten into what it knows before it parses.
"""

import inspect
import re
from collections.abc import Mapping, Sequence

import click

from cloudbuster.cli.model_defaults import model_default

# Words that are taken as the value of the switch before them: they hardly ever name a file.
TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})
# Heading of the examples in the docstring of a command, as numpydoc writes it.
EXAMPLES_HEADING = re.compile(r"\n*^Examples\n-+\n", re.MULTILINE)
# Sections of the help that come after those of the stages, in this order.
EXPERT_SECTION = "Expert options"
GENERAL_SECTION = "Logging and help"


class ModelOption(click.Option):
    """An option that sets a field of the request; its help shows the default of the model.

    The command is given None where the option was not: then the model decides.

    Attributes
    ----------
    part : str
        Path of the part of the request that holds the field, as ``gather.detector``.
    section : str
        Section of the help.
    """

    part = ""
    section = "Options"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Add the default to the help of the option."""
        record = super().get_help_record(ctx)
        default = model_default(self.part, str(self.name))
        if record is None or default is None or default is False or default == ():
            return record
        shown = self.opts[0].lstrip("-") if default is True else default
        return record[0], f"{record[1]}  [default: {shown}]"


class ListOption(click.Option):
    """An option of several values: ``--bands B04 B03``, ``--bands B04,B03``, or repeated.

    It needs ``multiple=True``. A word that follows its first value is another value only if it
    looks like one; anything else is an argument, or an error.

    Attributes
    ----------
    further : re.Pattern
        What a further value looks like.
    """

    further = re.compile(r"(?!)")

    def values_in(self, word: str) -> list[str]:
        """Split a word of the command line into values."""
        return [value for value in re.split(r"[,\s]+", word) if value] or [word]


class GeneralOption(click.Option):
    """An option that every command has."""

    section = GENERAL_SECTION


def log_options(*, expose_value: bool) -> list[click.Parameter]:
    """Make the options of logging, which may stand before and after a command.

    `cloudbuster.cli.main` reads them before anything else is parsed; here they are only checked.
    """
    return [
        GeneralOption(
            ["--log-level"],
            type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
            default="WARNING",
            show_default=True,
            envvar="CLOUDBUSTER_LOG_LEVEL",
            show_envvar=True,
            expose_value=expose_value,
            help="Least level of the messages on stderr.",
        ),
        GeneralOption(
            ["--log-json/--no-log-json"],
            default=False,
            envvar="CLOUDBUSTER_LOG_JSON",
            show_envvar=True,
            expose_value=expose_value,
            help="Write one JSON object a line on stderr: messages, progress and the error.",
        ),
    ]


_LOG_OPTIONS = log_options(expose_value=False)


class Command(click.Command):
    """A command whose options are written freely, and shown by section."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List the parameters of the command, and those that all commands have."""
        return [*super().get_params(ctx), *_LOG_OPTIONS]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite switches and lists, then parse as click does."""
        return super().parse_args(ctx, _readable(args, self.get_params(ctx), ctx))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; for Ctrl-C click itself would write an empty line, which is no JSON."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.exceptions.Abort from error

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, then its examples as they stand."""
        text, *examples = EXAMPLES_HEADING.split(inspect.cleandoc(ctx.command.help or ""))
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)
        for example in examples:
            with formatter.section("Examples"):
                lines = [f"  {line}".rstrip() + "\n" for line in example.splitlines()]
                formatter.write("".join(lines))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, those for experts after the others."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None and isinstance(option, click.Option):
                is_general = {"--help", "--version"} & {*option.opts}
                plain = GENERAL_SECTION if is_general else "Options"
                sections.setdefault(getattr(option, "section", plain), []).append(record)
        last = [name for name in (EXPERT_SECTION, GENERAL_SECTION) if name in sections]
        for name in [*(name for name in sections if name not in last), *last]:
            with formatter.section(name):
                formatter.write_dl(sections[name])


class Group(Command, click.Group):
    """The group of all commands, shown by section.

    Attributes
    ----------
    sections : mapping of str to sequence of click.Command
        Commands by the heading that they stand under.
    """

    sections: Mapping[str, Sequence[click.Command]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, then the options."""
        width = max(map(len, self.commands))
        for heading, commands in self.sections.items():
            rows = [(str(each.name).ljust(width), str(each.short_help)) for each in commands]
            with formatter.section(heading):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)


def _readable(
    words: list[str], options: Sequence[click.Parameter], ctx: click.Context
) -> list[str]:
    """Rewrite a command line; while one is being completed, errors can wait."""
    try:
        return rewritten(words, options)
    except click.UsageError as error:
        if ctx.resilient_parsing:
            return words
        error.ctx = ctx
        raise


def needed(value: str | None, option: str) -> str:
    """Return the value of an option that a command needs unless it is given ``--task``.

    Raises
    ------
    click.UsageError
        If it was not given.
    """
    if not value:
        msg = f"Missing option {option!r}; only --task, alone, can stand for it"
        raise click.UsageError(msg)
    return value


def rewritten(words: Sequence[str], options: Sequence[click.Parameter]) -> list[str]:
    """Write a command line as click reads it.

    ``--force True`` becomes ``--force`` and ``--force=no`` becomes ``--no-force``; a switch before
    any other word is left alone with it. ``--bands B04 B03`` becomes ``--bands=B04 --bands=B03``.

    Parameters
    ----------
    words : sequence of str
        Arguments and options, as they were typed.
    options : sequence of click.Parameter
        Options that are known.

    Returns
    -------
    list of str
        Equivalent words. Whatever is unknown, or stands after ``--``, is as it was.

    Raises
    ------
    click.UsageError
        If a switch is given a value that is neither true nor false, or is negated and given one.
    """
    known = {
        name: option
        for option in options
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    left = list(words)
    result: list[str] = []
    while left:
        word = left.pop(0)
        if word == "--":
            return [*result, word, *left]
        name, divider, value = word.partition("=")
        option = known.get(name)
        if option is None or option.count:
            result.append(word)
        elif option.is_flag:
            result.append(_switch(option, name, value if divider else None, left))
        elif isinstance(option, ListOption):
            result += _list(option, name, value if divider else None, left)
        else:
            result.append(word)
            # The value of an option is never a switch, whatever it looks like.
            if not divider and left:
                result.append(left.pop(0))
    return result


def _switch(option: click.Option, name: str, value: str | None, left: list[str]) -> str:
    """Write a switch and its value, which may be the first of the words ``left``, as one word."""
    if not option.secondary_opts:
        return name if value is None else f"{name}={value}"
    follows = left[0].lower() if left and value is None else ""
    if follows in TRUE_WORDS | FALSE_WORDS:
        value = left.pop(0)
    if value is None:
        return name
    if name in option.secondary_opts:
        msg = f"{name} takes no value, but {value} follows it; write {option.opts[0]} {value}"
        raise click.UsageError(msg)
    if value.lower() not in TRUE_WORDS | FALSE_WORDS:
        msg = f"{name} takes true or false, not {value!r}"
        raise click.UsageError(msg)
    return option.opts[0] if value.lower() in TRUE_WORDS else option.secondary_opts[0]


def _list(option: ListOption, name: str, value: str | None, left: list[str]) -> list[str]:
    """Write a list, whose values may be the first of the words ``left``, one by one."""
    if value is None and not left:
        return [name]
    words = [left.pop(0) if value is None else value]
    while left and option.further.fullmatch(left[0]):
        words.append(left.pop(0))
    return [f"{name}={each}" for word in words for each in option.values_in(word)]
