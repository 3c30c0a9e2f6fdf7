"""The preprocessing that a model's own metadata says it needs: the entry ``preprocessing``, in our text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.parse import parse_preprocess, parse_text
from graphopt.errors import DataError, UsageError

KEY = "preprocessing"
AUTO = "auto"
LONGEST = 1000  # fixed: characters of a recipe; a longer text is something else


@dataclass(frozen=True)
class Declared(Preprocess):
    """A recipe from a model's metadata; what it does not apply to is no contradiction."""

    def as_dict(self) -> dict[str, Any]:
        """The keys that differ from the defaults, and where they are from."""
        return {**super().as_dict(), "from": "the model's metadata"}


def recipe_for(text: str | None, metadata: Mapping[str, str]) -> tuple[Preprocess | None, str]:
    """The recipe that ``text`` names, else what the metadata says; and a warning, or nothing.

    ``auto`` insists on the metadata.  An entry that is no recipe is passed over with the warning: whoever
    wrote it may have meant something else by the word.  Raises UsageError for a malformed ``text``, DataError
    for ``auto`` where the model says nothing.
    """
    if text is not None and text.strip() != AUTO:
        return parse_preprocess(text), ""
    written = metadata.get(KEY, "").strip()
    problem = "its metadata has no entry 'preprocessing'"
    if written:
        try:
            return _declared(written), ""
        except UsageError as error:
            problem = f"its metadata say preprocessing={written:.60}, which is no recipe: {error}"
    if text is not None:
        hint = "write the recipe, such as size=224;mean=127;std=128"
        raise DataError(f"--preprocess auto finds nothing in the model: {problem}", hint=hint)
    return None, f"the model's preprocessing is passed over: {problem}" if written else ""


def _declared(written: str) -> Declared:
    """The metadata are untrusted: a text and nothing else, no file that it could name is opened."""
    if len(written) > LONGEST:
        raise UsageError(f"it has {len(written)} characters")
    recipe = parse_text(written)
    return Declared(**{field.name: getattr(recipe, field.name) for field in fields(recipe)})
