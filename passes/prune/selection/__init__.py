"""Which channels go: rules, goals, and what the model costs without them.

- ``choice``: What can be chosen, and the rules that choose: a ratio, a goal at equal cost or at the least
  total cost.
- ``consumer_selection``: Choose channels again when their consumer's turn comes, on what it really reads by
  then.
- ``cost_model``: What a model takes up as a function of the widths of its cells: sums of products, quick to
  evaluate.
- ``latency_goal``: Reach a fraction of the measured time: plan by the times of single layers, then measure
  the whole.
- ``latency_model``: How long a model takes as a function of the widths of its cells, from measured layers.
- ``offers``: What ``prune`` offers to a search over all passes: each group of channels at a few widths.
- ``predict``: What the model would cost with some channels removed, before anything is removed.
- ``steps``: Plan in one step or in several: decide widths, choose channels while fitting, score what is left
  anew.
"""
