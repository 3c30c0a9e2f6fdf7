"""The SPEC text ``fold-bn,prune:macs=0.7:round_to=16,quant:exclude=a|b``, both ways.

Passes are separated by commas, options by colons, list items by ``|``. A value that holds one of these,
``=``, a quote, white space or a brace stands in double quotes, where a quote is written twice. No character
is one that a shell touches, except ``|`` and the quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphopt.errors import UsageError

Value = str | tuple[str, ...]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_PLAIN = re.compile(r'[^:,|="\s{}]+')
_HINT = 'write it like "fold-bn,prune:macs=0.7:round_to=16,quant:exclude=a|b"'


@dataclass(frozen=True)
class PassSpec:
    """One pass as written: its name and its options, not yet converted."""

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={_format(value)}" for key, value in self.options)])


@dataclass(frozen=True)
class Spec:
    """A sequence of passes as written."""

    steps: tuple[PassSpec, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))


def parse(text: str) -> Spec:
    """Parse SPEC text; ``str(parse(s)) == s`` for text without needless quotes and blanks.

    Raises:
        UsageError: the text is not a spec; the sentence says where it breaks.
    """
    return _Parser(text).spec()


def _format(value: Value) -> str:
    if isinstance(value, str):
        return _quote(value)
    if len(value) == 1:  # a list of one reads back as a scalar, which a list option accepts
        return _quote(value[0])
    return "|".join(map(_quote, value))


def _quote(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace('"', '""') + '"'


class _Parser:
    """A cursor over the text: each method reads one thing and stands behind it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def spec(self) -> Spec:
        steps = [self._step()]
        while self._accept(","):
            steps.append(self._step())
        if self.at < len(self.text):
            raise self._stray()
        return Spec(tuple(steps))

    def _step(self) -> PassSpec:
        self._blanks()
        name = self._name(f"there is no pass name {self._place()}")
        options: dict[str, Value] = {}
        while self._accept(":"):
            key = self._name(f"{name}: an option is missing {self._place()}")
            if key in options:
                raise self._error(f"{name}: {key} is given twice")
            if not self._accept("="):
                raise self._error(f"{name}: option {key} has no value", f"write {name}:{key}=VALUE")
            options[key] = self._value(name, key)
        self._blanks()
        return PassSpec(name, tuple(options.items()))

    def _value(self, name: str, key: str) -> Value:
        items = [self._item(name, key)]
        while self._accept("|"):
            items.append(self._item(name, key))
        return items[0] if len(items) == 1 else tuple(items)

    def _item(self, name: str, key: str) -> str:
        if quoted := _QUOTED.match(self.text, self.at):
            self.at = quoted.end()
            return quoted[1].replace('""', '"')
        if self.text.startswith('"', self.at):
            raise self._error(f"{name}: the quote opened in {key} is not closed")
        plain = _PLAIN.match(self.text, self.at)
        if not plain:
            raise self._error(f"{name}: {key} has an empty value {self._place()}")
        self.at = plain.end()
        return plain[0]

    def _name(self, otherwise: str) -> str:
        match = _NAME.match(self.text, self.at)
        if not match:
            raise self._error(otherwise)
        self.at = match.end()
        return match[0]

    def _accept(self, character: str) -> bool:
        is_there = self.text.startswith(character, self.at)
        self.at += is_there
        return is_there

    def _blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _place(self) -> str:
        if not self.text.strip():
            return "in an empty spec"
        if self.at >= len(self.text):
            return f"at the end, after {self.text[-1]!r}"
        return f"before {self.text[self.at :]!r}"

    def _stray(self) -> UsageError:
        rest = self.text[self.at :]
        if rest[0] in "{}[]()":
            return self._error(f"{rest[0]!r} has no meaning here", "options are written prune:macs=0.7")
        if rest[0] in "=|":
            quotes = f"a value that holds {rest[0]!r} goes in double quotes"
            return self._error(f"{rest!r} is left over", quotes)
        return self._error(f"{rest!r} is left over")

    def _error(self, message: str, hint: str = _HINT) -> UsageError:
        return UsageError(f"in the passes {self.text!r}: {message}", hint=hint)
