"""The help of the console script: every command says what it does, explains its parameters and shows an example."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from deploy.cli import app

EXAMPLE = re.compile(r"^(?:Example: )?(?:\w+=\S+ )*fangxian((?: .*)?)$")
"""A line of a help text that is an example: perhaps with variables before the command."""


Command = TyperCommand | TyperGroup


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """A command and all commands below it, each with its path."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


COMMANDS = dict(commands(get_command(app)))
every_command = pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "fangxian")


def examples_of(command: Any) -> list[list[str]]:
    """The arguments of each example in the help of a command; a shell substitution counts as one example too."""
    lines = (command.help or "").splitlines()
    matches = [EXAMPLE.match(line.strip()) for line in lines]
    inside = [re.search(r"\$\(fangxian ([^)]*)\)", line) for line in lines]
    return [shlex.split(match[1]) for match in (*matches, *inside) if match]


def test_all_commands_are_found() -> None:
    assert {("up",), ("keys", "rotate"), ("sign-in",)} <= COMMANDS.keys()
    assert len(COMMANDS) > 25


@every_command
def test_help_says_what_a_command_does(path: tuple[str, ...]) -> None:
    first = (COMMANDS[path].help or "").partition("\n")[0]
    assert re.match(r"[A-Z].{20,}\.$", first), "the help begins with one sentence or more"


@every_command
def test_help_shows_an_example_that_the_command_accepts(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    examples = examples_of(command)
    assert examples, "no example"
    for words in examples:
        assert tuple(words[: len(path)]) == path
        named = next(COMMANDS[names] for names in (tuple(words[:2]), tuple(words[:1])) if names in COMMANDS)
        arguments = words[2:] if tuple(words[:2]) in COMMANDS else words[1:]
        named.make_context(" ".join(words), arguments)  # parses the arguments, and runs nothing


@every_command
def test_help_explains_every_argument_and_option(path: tuple[str, ...]) -> None:
    parameters = COMMANDS[path].params
    assert [parameter.name for parameter in parameters if not getattr(parameter, "help", None)] == []


def test_an_example_that_the_command_does_not_accept_is_found() -> None:
    other = typer.Typer()

    @other.command()
    def rotate(kind: str) -> None:
        """Rotate a key.

        Example: fangxian rotate --kind index
        """

    command = get_command(other)
    ((_, *arguments),) = examples_of(command)
    with pytest.raises(Exception, match="No such option: --kind"):
        command.make_context("rotate", arguments)
    assert getattr(command.params[0], "help", None) is None
