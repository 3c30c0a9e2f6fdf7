"""Everything graphopt raises on purpose, each with the exit code the command line ends with.

An error is one sentence that says what is wrong and where; ``hint`` says what to do about it.
Any other exception is a bug of graphopt's own (exit code 1).
"""

from __future__ import annotations


class GraphoptError(Exception):
    """Base of all errors graphopt raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(GraphoptError):
    """The call itself is wrong: an unknown pass, a bad option value, contradictory flags."""

    exit_code = 2


class ModelError(GraphoptError):
    """The model file cannot be read, is invalid, or holds something graphopt must refuse."""

    exit_code = 3


class DataError(GraphoptError):
    """The samples cannot be read or do not fit the model's inputs."""

    exit_code = 3


class PassError(GraphoptError):
    """A pass failed; nothing was written."""

    exit_code = 4

    def __init__(self, message: str, *, pass_name: str = "", node: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pass_name = pass_name
        self.node = node


class WorkersError(GraphoptError):
    """Workers are lost, or cannot be used: another version, another processor, not enough memory."""

    exit_code = 4


class VerificationError(GraphoptError):
    """The changed model is not what its passes promised; nothing was written."""

    exit_code = 5


class GoalError(GraphoptError):
    """A stated goal was missed."""

    exit_code = 6


class OutputError(GraphoptError):
    """The output cannot be written."""

    exit_code = 7
