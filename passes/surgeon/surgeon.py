"""Run a user's own graphsurgeon code as one step of a run.

``--passes 'surgeon:function="edit.py:fix",clean'`` executes ``edit.py`` and calls ``fix(graph)``.  The graph
is an onnx_graphsurgeon Graph: nodes and tensors made with ``gs.Node``, ``gs.Variable`` and ``gs.Constant``,
``graph.layer``, ``cleanup``, ``toposort``, ``fold_constants``, ``copy``, functions registered with
``gs.Graph.register``, values written in place (``constant.values *= 2``) and ``gs.export_onnx(graph)`` all
work as they do there.  ``fix`` returns nothing, or a graph that takes the place of the given one.

Three things are different, all for the better: what the code does not touch (weights, doc strings, metadata,
local functions) is written back as it was; tensors are distinguished by identity, so two with one name do not
clash (the later gets another); and initializers that nobody reads any more are dropped.

A file is code, and code can do anything: this pass executes exactly the file that is named, with the rights
of whoever runs graphopt.  Never name a file whose author is not trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from graphopt.errors import ModelError, PassError
from graphopt.ir import Model
from graphopt.ir.graphsurgeon.adopt import adopt, is_graph
from graphopt.ir.graphsurgeon.before import Before
from graphopt.ir.graphsurgeon.graph_proxy import open_graph
from graphopt.pipeline import Context, Contract, Pass, option

from .changes import State, changes
from .userfile import NAME, UserFunction


@dataclass(frozen=True)
class Surgeon(Pass):
    """Run your own graphsurgeon function on the graph; this executes the Python file you name."""

    name: ClassVar[str] = NAME
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    # Cutting the graph elsewhere is what surgery is often for.
    keeps_signature: ClassVar[bool] = False  # type: ignore[misc]

    function: str = option(
        "",
        'what to call, as "file.py:function" (in double quotes); the file is executed with your rights, so '
        "name only code you trust; the function gets the graph and returns None or a graph",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._user()

    @classmethod
    def of(cls, function: Callable[[Any], Any]) -> Surgeon:
        """The pass that calls a function of the caller's own program."""
        return _Given(UserFunction.of(function))

    def _user(self) -> UserFunction:
        return UserFunction.parse(self.function)

    def run(self, model: Model, ctx: Context) -> None:
        """Call the function on the live graph, take the result in and say what is different."""
        user = self._user()
        function = user.load()
        state, before = State.of(model), Before.of(model)
        result = user.call(function, open_graph(model))
        if result is not None and not is_graph(result):
            raise PassError(
                f"{NAME}: {user.title} returned {_article(type(result).__name__)}, not None or a graph",
                pass_name=NAME,
                hint="return nothing after edits in place; gs.import_onnx makes a graph of a model",
            )
        _take_in(model, before, result, user)
        listed = list(changes(state, State.of(model)))
        for where, what in listed:
            ctx.changed(where, what)
        if not listed:
            ctx.skipped("graph", f"{user.title} left everything as it was")


class _Given(Surgeon):
    """The pass with a function that is at hand."""

    def __init__(self, user: UserFunction) -> None:
        object.__setattr__(self, "_given", user)
        super().__init__(user.title)

    def _user(self) -> UserFunction:
        given: UserFunction = self.__dict__["_given"]
        return given


def _take_in(model: Model, before: Before, result: object, user: UserFunction) -> None:
    """Adopt the graph that the user's code left, and check that it is a valid model."""
    try:
        adopt(model, before, result)
        model.check()
    except ModelError as error:
        hint = error.hint or "graph.cleanup() removes what no output needs"
        message = f"{NAME}: {user.title} left a graph that is not valid: {error}"
        raise PassError(message, pass_name=NAME, hint=hint) from error


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"
