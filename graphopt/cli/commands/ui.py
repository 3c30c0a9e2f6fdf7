"""``graphopt ui``: look at a model and steer its compression on a local page."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
import webbrowser
from pathlib import Path

import click

from graphopt.cli import flags
from graphopt.errors import ModelError, UsageError

_EXAMPLES = """\b
Examples:
  graphopt ui in.onnx
  graphopt ui in.onnx --folder photos/ --no-browser
"""


@click.command("ui", short_help="Steer the compression of a model on a local page.", epilog=_EXAMPLES)
@click.argument("model", metavar="MODEL|FOLDER|REPORT.json")
@click.option(
    "--folder",
    multiple=True,
    metavar="DIR",
    help="Another folder that the page may read samples from; repeat for several. [default: MODEL's own]",
)
@flags.value("--port", metavar="N", type=click.IntRange(0, 65535), help="Port. [default: a free one]")
@flags.switch("--no-browser", "Open no browser: print the address alone.")
@flags.talk
def command(
    model: str,
    folder: tuple[str, ...],
    port: int | None,
    no_browser: bool | None,
    quiet: bool | None,
    debug: bool | None,
) -> None:
    """Show MODEL on a page of this machine: study what each layer costs, drag along the front, veto, measure.

    Of a FOLDER its only model is opened, of a REPORT.json the model it is about.  The page is served on the
    loopback alone, to whoever has the address that is printed.  Needs pip install "graphopt[ui]".
    """
    try:
        import uvicorn

        from graphopt.ui.server import make_app
    except ImportError as error:
        raise UsageError(f"the page needs {error.name}", hint='pip install "graphopt[ui]"') from error
    from graphopt.ui.workbench import Workbench

    path, folders = _model_of(Path(model)), [Path(text) for text in folder]
    for each in folders:
        if not each.is_dir():
            raise UsageError(f"--folder {each} is not a folder")
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="graphopt-ui-") as work, _socket(port or 0) as listening:
        bench = Workbench(path, folders, Path(work))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/?token={token}"
        click.echo(f"{path.name} is at {address}")
        if not quiet:
            click.echo("Ctrl-C ends it; what was not downloaded goes with it", err=True)
        if not no_browser:
            webbrowser.open(address)
        server = uvicorn.Server(
            uvicorn.Config(make_app(bench, token, lambda: server.should_exit), log_level="error")
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        bench.close()


def _model_of(path: Path) -> Path:
    """The model that an argument means."""
    if path.is_dir():
        models = sorted(path.glob("*.onnx"))
        if len(models) != 1:
            names = ", ".join(model.name for model in models[:8]) or "none"
            raise UsageError(f"{path} holds {len(models)} models ({names})", hint="name one of them")
        return models[0]
    if path.suffix == ".json":
        from graphopt.report.html import read_report

        path = Path(str(read_report(path)["input"]))
    if not path.is_file():
        raise ModelError(f"{path} does not exist")
    return path


def _socket(port: int) -> socket.socket:
    """A socket that listens on the loopback."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen()  # whoever comes before the server is ready waits for it
    except OSError as error:
        made.close()
        raise UsageError(f"port {port} cannot be used: {error.strerror or error}") from error
    return made
