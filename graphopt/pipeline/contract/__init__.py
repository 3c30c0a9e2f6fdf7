"""What a pass is, what it may use, and what it writes down.

- ``base``: What a pass is: a frozen dataclass whose fields are its options, with a name, a contract and a
  ``run``.
- ``context``: What a pass may use besides the model, and where it says what it did.
- ``moves``: Moves: what a planned pass can do to single parts of a model, what each saves and what it costs.
- ``options``: A pass's options: typed dataclass fields that are at once CLI options, recipe keys and
  documentation.
- ``plan_files``: Plan files: what the planned passes of a run decided, to look at, edit and replay.
- ``selection``: Which nodes a user's options pick: names with ``*`` and ``?`` as in a shell, operator types,
  and places.
"""
