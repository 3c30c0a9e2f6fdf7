"""What a run is asked for: specs, recipes, requests, and the passes that exist.

- ``arrange``: From a spec to the frozen passes of a run, with the passes they need put before them.
- ``automatic``: ``--passes auto``: the passes that a target likes, where samples say how far they may go.
- ``completion``: What may stand next in SPEC text: passes, their options, and the values of these.
- ``flag``: One flag of a run: a field of a dataclass that knows its default, what it takes, and its
  explanation.
- ``recipe``: Recipes: a run written down in TOML, with every flag as a key and the passes as tables.
- ``registry``: Which passes and commands exist: entry points, read by name and imported only when used.
- ``request``: Everything one optimize run was asked for, checked for contradictions before any work.
- ``run_flags``: The flags of a run, each declared once: command line, recipe keys, Python arguments and docs
  follow.
- ``shapes``: Sizes that models are run at, as they are given: ``NAME=1x3x640x640``.
- ``spec``: The SPEC text ``fold-bn,prune:macs=0.7:round_to=16,quant:exclude=a|b``, both ways.
- ``written``: Passes as Python callers write them: SPEC text, Pass objects, functions of the graph, lists of
  these.
"""
