"""The command as a process: it starts fast, and survives a closed pipe, a signal and a dumb terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "graphopt"]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("flags", [["--help"], ["--version"], ["optimize", "--help"]])
def test_help_imports_nothing_heavy(flags: list[str]) -> None:
    code = (
        "import sys; from graphopt.cli import app; app.run(sys.argv[1:]);"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'rich', 'PIL', 'networkx'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_and_help_answer() -> None:
    assert run("--version").stdout.startswith("graphopt ")
    out = run("--help").stdout
    assert run().stdout == out
    assert all(name in out for name in ("optimize", "inspect", "compare", "evaluate", "passes"))


@pytest.mark.parametrize(("given", "used"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_linear_algebra_has_one_thread_unless_the_user_says_otherwise(
    given: dict[str, str], used: str
) -> None:
    code = (
        "import atexit, os; from graphopt.cli import app;"
        "atexit.register(lambda: print('threads', os.environ['OPENBLAS_NUM_THREADS']));"
        "app.main(['--version'])"
    )
    env = {name: text for name, text in os.environ.items() if name not in ("OPENBLAS_NUM_THREADS",)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**env, **given})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"threads {used}"


def test_every_command_has_help_with_defaults() -> None:
    for name in ("optimize", "inspect", "compare", "evaluate", "passes"):
        done = run(name, "--help")
        assert done.returncode == 0, done.stderr
        assert "Usage: graphopt" in done.stdout
    assert "[default: ort-cpu]" in " ".join(run("optimize", "--help").stdout.split())


def test_help_says_what_the_commands_of_rooms_do() -> None:
    listed = run("--help").stdout
    assert "Train a student towards a teacher" in listed
    assert "remove the environment that distill trains in" in " ".join(listed.split())


def test_a_closed_pipe_is_no_error(tiny: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "inspect", str(tiny)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0, err
    assert err == ""


def test_no_colour_without_a_terminal(tiny: Path) -> None:
    done = run("inspect", tiny, env={**os.environ, "TERM": "xterm-256color"})
    assert "\x1b" not in done.stdout


# A job that a shell puts into the background ignores Ctrl-C, and so do its children: as if typed in front.
FOREGROUND = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
def test_ctrl_c_ends_with_130(tmp_path: Path, tiny: Path) -> None:
    code = FOREGROUND + (
        "import sys, time, graphopt.pipeline.run.run as run\n"
        "def slow(*_):\n"
        "    print('working', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "run.Run.execute = slow\n"
        "from graphopt.cli.app import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = [sys.executable, "-c", code, "optimize", str(tiny), "--passes", "clean", "--as-written"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err


# Stops for a minute inside the draft's write, when half of it is on the disk.
SLOW_WRITE = """
import sys, time
import graphopt.ir.io.save as save
def slowly(file, payload, *rest):
    file.write(bytes(payload)[: len(payload) // 2])
    file.flush()
    print('writing', file=sys.stderr, flush=True)
    time.sleep(60)
save._copy = slowly
from graphopt.cli.app import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_writing_leaves_nothing(tmp_path: Path, tiny: Path, number: int, code: int) -> None:
    flags = ["--passes", "clean", "--verify", "structure", "--no-latency", "--quiet"]
    arguments = [sys.executable, "-c", FOREGROUND + SLOW_WRITE, "optimize", str(tiny), *flags]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 2  # the model and a draft folder
        process.send_signal(number)
        err = process.stderr.read()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [tiny]


@pytest.mark.skipif(os.name == "nt", reason="limits are another thing there")
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, tiny: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "from graphopt.cli.app import main\n"
        "main(sys.argv[1:])\n"
    )
    flags = ["--passes", "clean", "--verify", "structure", "--no-latency"]
    done = subprocess.run(
        [sys.executable, "-c", code, "optimize", tiny, *flags], capture_output=True, text=True
    )
    assert done.returncode == 7, done.stderr
    assert "the output cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [tiny]


def test_names_that_stdout_cannot_show(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "mod\u00e8les \u6a21\u578b"
    folder.mkdir()
    model = tiny.rename(folder / "n\u00e9t.onnx")
    flags = ("--passes", "clean", "--no-latency", "--report", folder / "r\u00e9port.json")
    done = run("optimize", model, *flags, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert (folder / "n\u00e9t.opt.onnx").exists() and (folder / "r\u00e9port.json").exists()
    assert "written: " in done.stdout
