"""What a run is asked for: specs, recipes, requests, and the passes that exist.

- ``arrange``: From a spec to the frozen passes of a run, with the passes they need put before them.
- ``recipe``: Recipes: a run written down in TOML, with every flag as a key and the passes as tables.
- ``registry``: Which passes and commands exist: entry points, read by name and imported only when used.
- ``request``: Everything one optimize run was asked for, checked for contradictions before any work.
- ``spec``: The SPEC text ``fold-bn,prune:macs=0.7:round_to=16,quant:exclude=a|b``, both ways.
"""
