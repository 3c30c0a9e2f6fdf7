"""What a pass is, what it may use, and what it writes down.

- ``base``: What a pass is: a frozen dataclass whose fields are its options, with a name, a contract and a
  ``run``.
- ``context``: What a pass may use besides the model, and where it says what it did.
- ``options``: A pass's options: typed dataclass fields that are at once CLI options, recipe keys and
  documentation.
- ``patterns``: Patterns by which options name nodes: ``*`` and ``?`` stand for any characters, as in a shell.
- ``plan_files``: Plan files: what the planned passes of a run decided, to look at, edit and replay.
"""
