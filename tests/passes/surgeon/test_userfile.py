"""The user's file: how it is found and executed, and how its errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt import ir
from graphopt.errors import PassError, UsageError
from graphopt.passes.surgeon import Surgeon
from graphopt.pipeline import Context

Operate = Callable[[ir.Model, str], Context]

# -- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def fix(graph):\n    x = graph.nodes[99]\n",
            r"fix failed in line 5 \(x = graph.nodes\[99\]\): IndexError: ",
        ),
        ("def fix(graph):\n    raise SystemExit(3)\n", r"fix failed in line 5 .*: it called exit"),
        ("def fix(graph):\n    graph.nothing()\n", r"fix failed in line 5 .*: AttributeError: .*nothing"),
        ("def fix():\n    pass\n", r"fix failed: TypeError: fix\(\) takes 0 positional arguments"),
        ("def fix(graph):\n    return 1\n", r"fix returned an int, not None or a graph"),
        (
            "def fix(graph):\n    return gs.export_onnx(graph)\n",
            r"fix returned a ModelProto, not None or a graph",
        ),
        ("def fix(graph)\n    pass\n", r"fix cannot be loaded in line 4: SyntaxError: expected ':'"),
        (
            "import no_such_package_at_all\n",
            r"fix cannot be loaded in line 4 .*No module named 'no_such_package",
        ),
        ("def mend(graph):\n    pass\n", r"edit.py has no function fix"),
        ("fix = 3\n", r"edit.py has no function fix"),
        ("def fix(graph):\n    graph.nodes[0].outputs.clear()\n", r"not valid: .*reads 'c', which nothing"),
        ("def fix(graph):\n    graph.nodes[0].op = 'Convolution'\n", r"not valid: .*Convolution"),
        ("def fix(graph):\n    graph.nodes[0].inputs[0] = graph.outputs[0]\n", r"not valid: .*cycle"),
        (
            "def fix(graph):\n    graph.functions.append(gs.Function('f'))\n",
            r"not valid: the local function 'f'",
        ),
        (
            "def fix(graph):\n    t = gs.Variable('q')\n    graph.nodes.append("
            "gs.Node('Odd', domain='d', outputs=[t]))\n    graph.outputs = [t]\n",
            r"not valid: the output 'q' has no element type",
        ),
    ],
)
def test_an_error_is_one_sentence(
    operate: Operate, text: str, message: str, model: ir.Model, write: Callable[[str], str]
) -> None:
    with pytest.raises(PassError, match=message) as caught:
        operate(model, write(text))
    assert "\n" not in str(caught.value) and caught.value.pass_name == "surgeon"
    assert str(caught.value).startswith("surgeon: ")


def test_the_users_exception_is_kept(operate: Operate, model: ir.Model, write: Callable[[str], str]) -> None:
    with pytest.raises(PassError) as caught:
        operate(model, write("def helper():\n    return {}['key']\n\ndef fix(graph):\n    helper()\n"))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "in line 5 (return {}['key'])" in str(caught.value)


def test_a_missing_function_names_those_there_are(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    with pytest.raises(PassError) as caught:
        operate(model, write("def mend(graph):\n    pass\n"))
    assert caught.value.hint == "it has mend"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("", "the function to run is file.py:function, and none is given"),
        ("edit.py", "'edit.py' names none"),
        ("edit.py:", "'edit.py:' names none"),
        ("edit.py:a b", "'edit.py:a b' names none"),
        ("no/such/edit.py:fix", "there is no file no/such/edit.py"),
    ],
)
def test_a_wrong_option_is_a_usage_error_before_the_run(function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Surgeon(function=function)


# -- the user's file ----------------------------------------------------------------------------------------


def test_a_file_is_run_afresh_and_leaves_nothing_beside_it(
    operate: Operate, model: ir.Model, tmp_path: Path
) -> None:
    path = tmp_path / "edit.py"
    for alpha in (2.0, 3.0):  # same size, same second: cached bytecode would be stale
        path.write_text(f"def fix(graph):\n    graph.nodes[-1].attrs['alpha'] = {alpha}\n")
        operate(model, f"{path}:fix")
        assert model.graph.nodes[-1].attrs["alpha"] == alpha
    assert [p.name for p in tmp_path.iterdir()] == ["edit.py"]


def test_modules_beside_the_file_can_be_imported(operate: Operate, model: ir.Model, tmp_path: Path) -> None:
    (tmp_path / "surgeon_test_helper.py").write_text("ALPHA = 4.0\n")
    path = tmp_path / "edit.py"
    path.write_text(
        "from surgeon_test_helper import ALPHA\n\n"
        "def fix(graph):\n    graph.nodes[-1].attrs['alpha'] = ALPHA\n"
    )
    before = list(sys.path)
    operate(model, f"{path}:fix")
    assert sys.path == before
    assert model.graph.nodes[-1].attrs["alpha"] == 4.0


def test_what_the_code_prints_goes_to_stderr(
    operate: Operate, model: ir.Model, write: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    operate(model, write("print('loading')\n\ndef fix(graph):\n    print('fixing', graph.nodes[0])\n"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "loading" in captured.err and "fixing conv (Conv)" in captured.err


def test_the_help_says_that_code_is_executed() -> None:
    (function,) = Surgeon.describe()
    assert "executed" in function.help and "executes" in Surgeon.summary()
