"""What may stand next in SPEC text: passes, their options, and the values of these."""

from __future__ import annotations

from graphopt.errors import GraphoptError
from graphopt.pipeline.spec.registry import passes


def spec_candidates(text: str) -> list[str]:
    """The texts that ``text`` may be completed to, each up to the next part; none where it leads nowhere."""
    before, comma, step = text.rpartition(",")
    head = before + comma
    name, colon, rest = step.partition(":")
    if not colon:
        return [head + candidate for candidate in passes().names if candidate.startswith(name)]
    given, _, last = rest.rpartition(":")
    start = f"{head}{name}:{given}:" if given else f"{head}{name}:"
    try:
        options = {option.name: option for option in passes().load(name).describe()}
    except GraphoptError:  # there is no such pass, or it cannot be imported
        return []
    key, equals, value = last.partition("=")
    if not equals:
        taken = {part.partition("=")[0] for part in given.split(":")}
        return [
            f"{start}{candidate}="
            for candidate in options
            if candidate.startswith(key) and candidate not in taken
        ]
    if key not in options:
        return []
    option = options[key]
    values = ("true", "false") if option.type is bool else map(str, option.choices)
    listed, bar, part = value.rpartition("|") if option.is_list else ("", "", value)
    return [f"{start}{key}={listed}{bar}{candidate}" for candidate in values if candidate.startswith(part)]
