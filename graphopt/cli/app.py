"""The ``graphopt`` command: its subcommands, and what a failure looks like from outside."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from graphopt.errors import DataError, GraphoptError, UsageError

COMMANDS = {
    "optimize": "Make a model smaller and faster with a sequence of passes.",
    "explore": "Find the front of speed, size and quality, each point a plan to replay.",
    "inspect": "Show what is in a model: operators, shapes, parameters, MACs, bytes.",
    "compare": "Show how much two models differ in numbers, size and speed.",
    "check": "Hold a model to limits against a baseline: a gate for CI.",
    "report": "Make a page of one report file, or put several runs side by side.",
    "evaluate": "Measure a model on samples: top-1 and top-5, or agreement with a reference.",
    "sensitivity": "Show what each layer or group costs to compress.",
    "ui": "Steer the compression of a model on a local page.",
    "passes": "List the passes, or show one with its options.",
    "targets": "List the backends, or show or install one.",
}
# fixed: each sample has a thread of its own. More threads inside of every product wait for each other most of
# the time, and sums come out otherwise with each number of them: results would depend on the processors.
LINEAR_ALGEBRA = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Bash takes : and = for ends of words, which SPEC text has inside: words are cut at blanks here instead, and
# what bash sees as done already is taken off the answers.
BASH = r"""
_graphopt_completion() {
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT} word cut="" words count answer
    word=${line##*[[:space:]]}
    [[ $word == *[:=]* ]] && cut=${word%"${word##*[:=]}"}
    IFS=$' \t\n' read -ra words <<< "$line"
    count=${#words[@]}
    [[ -n $word ]] && count=$((count - 1))
    COMPREPLY=()
    while read -r answer; do
        case ${answer%%,*} in
            plain) COMPREPLY+=("${answer#plain,}") ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
        esac
    done < <(env COMP_WORDS="$line" COMP_CWORD="$count" _GRAPHOPT_COMPLETE=bash_complete "$1")
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}
complete -o nosort -F _graphopt_completion graphopt
"""
INTERRUPTED = 130
BUG = 1


class LazyGroup(click.Group):
    """A group that imports a command when it runs, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own commands, then those that rooms register."""
        from graphopt.pipeline.spec.registry import commands

        return [*COMMANDS, *(name for name in commands().names if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command; None when there is no such name."""
        if name in COMMANDS:
            command: click.Command = importlib.import_module(f"graphopt.cli.commands.{name}").command
            return command
        from graphopt.pipeline.spec.registry import commands

        registry = commands()
        return registry.load(name) if name in registry.names else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a reader of our output that has seen enough is no failure."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows here and not in the interpreter's shutdown
            return result
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        from graphopt.pipeline.spec.registry import commands

        registry = commands()
        rooms = [name for name in registry.names if name not in COMMANDS]
        plugged_in = [(name, registry.summary(name) or f"See graphopt {name} --help.") for name in rooms]
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items(), *plugged_in])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from graphopt import __version__

        click.echo(f"graphopt {__version__}")
        ctx.exit()


def _add_plugins(ctx: click.Context, _: click.Parameter, folders: tuple[str, ...]) -> None:
    """Name the folders to this process, and to those that it starts."""
    if folders and not ctx.resilient_parsing:
        from graphopt.util.registry import PLUGINS

        named = [text for text in os.environ.get(PLUGINS, "").split(os.pathsep) if text]
        absolute = (str(Path(folder).absolute()) for folder in folders)
        os.environ[PLUGINS] = os.pathsep.join(dict.fromkeys([*named, *absolute]))


def _print_completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(BASH if shell == "bash" else made(cli, {}, "graphopt", "_GRAPHOPT_COMPLETE").source())
    ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_print_completion,
    help='Print what completes commands, flags, passes and targets; eval "$(graphopt --completion bash)".',
)
@click.option(
    "--plugin",
    metavar="FOLDER",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_add_plugins,
    help="Use a package that is not installed: the folder with its pyproject.toml. Several are allowed.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Make ONNX files smaller and faster as the last step before deployment."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminated)
    for library in LINEAR_ALGEBRA:
        os.environ.setdefault(library, "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the stream cannot show
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _terminated(number: int, _: object) -> None:
    """End by way of every clean-up, so that a stopped job leaves no draft behind."""
    sys.exit(128 + number)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. Failures become one sentence on stderr."""
    debug = "--debug" in arguments
    try:
        code: Any = cli.main(args=list(arguments), prog_name="graphopt", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        return _say(_as_usage_error(error), debug)
    except GraphoptError as error:
        return _say(error, debug)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except MemoryError as error:
        hint = "use smaller sizes (--shape), fewer samples, or a machine with more memory"
        return _say(DataError(f"this machine has too little memory: {error}".rstrip(": "), hint=hint), debug)
    except Exception as error:  # whatever is left is our own bug, and the user should not read a traceback
        return _say_bug(error, debug)


def _as_usage_error(error: click.ClickException) -> UsageError:
    message = error.format_message().rstrip(".")
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help shows how it is called"
    if message.startswith("Got unexpected extra argument"):
        hint = f"quote passes that contain blanks, quotes or |; {hint}"
    return UsageError(message, hint=hint)


def _say(error: GraphoptError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    return error.exit_code


def _say_bug(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    click.echo(f"error: graphopt itself failed: {type(error).__name__}: {error}", err=True)
    click.echo(
        "hint: this is a bug; please report it with the output of the same command and --debug", err=True
    )
    return BUG
