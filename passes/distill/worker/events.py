"""What the worker says, and what it is sent: JSON lines out, words in."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

Job = dict[str, Any]  # job.json


class Failure(Exception):  # noqa: N818 (it says what it is)
    """The job cannot be done: a code for programs, a sentence for people, and the node it is about."""

    def __init__(self, code: str, message: str, node: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.node = node


class Events:
    """Writes one JSON object a line to what was stdout; native code that prints goes to stderr instead."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def send(self, event: str, **values: Any) -> None:
        """Send one event; whoever listened may be gone, which is not the worker's failure."""
        try:
            self._stream.write(json.dumps({"event": event, **values}) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            os._exit(1)


class Control:
    """Hears on stdin whether to stop; the end of the stream means that the main process is gone."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def stopped(self) -> bool:
        """Whether to finish with the best so far."""
        return self._stop.is_set()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                break
        self._stop.set()
