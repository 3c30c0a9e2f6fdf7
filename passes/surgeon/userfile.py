"""A function in a file that the user named: found, loaded, called, and its errors put into a sentence."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from graphopt.errors import PassError, UsageError
from graphopt.util.user_module import execute

NAME = "surgeon"
HOW = 'write surgeon:function="edit.py:fix"'


@dataclass(frozen=True)
class UserFunction:
    """The function ``name`` in the Python file ``path``; ``title`` is how the user wrote it."""

    title: str
    path: Path
    name: str
    given: Callable[[Any], Any] | None = None  # the function itself, where it is at hand

    @classmethod
    def of(cls, function: Callable[[Any], Any]) -> UserFunction:
        """A function of the caller's own program, called after its file where it has one."""
        name = getattr(function, "__name__", type(function).__name__)
        code = getattr(function, "__code__", None)
        path = Path(code.co_filename if code is not None else "python")
        return cls(f"{path.name}:{name}", path, name, function)

    @classmethod
    def parse(cls, text: str) -> UserFunction:
        """Read ``file.py:function``; raises UsageError when it is something else or there is no such file."""
        file, _, name = text.rpartition(":")
        if not file or not name.isidentifier():
            given = f"{text!r} names none" if text else "none is given"
            raise UsageError(f"{NAME}: the function to run is file.py:function, and {given}", hint=HOW)
        path = Path(file).expanduser()
        if not path.is_file():
            raise UsageError(f"{NAME}: there is no file {file}", hint=f"{HOW}; paths start at {Path.cwd()}")
        return cls(text, path.resolve(), name)

    def load(self) -> Callable[[Any], Any]:
        """Execute the file under a private module name and return the function; raises PassError."""
        if self.given is not None:
            return self.given
        with self._guarded("cannot be loaded"):
            module = execute(self.path)
        function = getattr(module, self.name, None)
        if not callable(function):
            own = [n for n, v in vars(module).items() if callable(v) and _is_own(v, module) and n[0] != "_"]
            offer = f"it has {', '.join(own)}" if own else "it has none"
            message = f"{NAME}: {self.path.name} has no function {self.name}"
            raise PassError(message, pass_name=NAME, hint=offer)
        return function  # type: ignore[no-any-return]

    def call(self, function: Callable[[Any], Any], graph: Any) -> Any:
        """Call the function; raises PassError that says which line of the user's failed and how."""
        with self._guarded("failed"):
            return function(graph)

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Keep what the user's code prints off our standard output, and turn its errors into PassError."""
        sys.path.insert(0, str(self.path.parent))  # as if the file was run: modules beside it can be imported
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (Exception, SystemExit) as error:
            message = f"{NAME}: {self.title} {what}{self._place(error)}: {_reason(error)}"
            hint = "--debug shows the whole traceback"
            raise PassError(message, pass_name=NAME, hint=hint) from error
        finally:
            with contextlib.suppress(ValueError):  # the user's code may edit the list itself
                sys.path.remove(str(self.path.parent))

    def _place(self, error: BaseException) -> str:
        """The last line of the user's file that was running."""
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            return f" in line {error.lineno}"
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(self.path)]
        return f" in line {frames[-1].lineno} ({frames[-1].line})" if frames else ""


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it called exit"
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        text = str(error.msg)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
