"""The record of a run: plain values that print and serialise; nothing here renders or runs.

- ``budget``: What a search over the passes of a run tried, and what it promises.
- ``divergent_inputs``: The inputs to which a result answers least like its original.
- ``front``: A front: runs of one model of which none beats another in speed, size and quality, each with its
  plan.
- ``layers``: One node of a model before and after a run.
- ``plots``: Plots that passes leave for the report: plain values, thinned so that a report stays small.
- ``record``: The record of a run: the one source of its table and of its report file.
- ``sensitivity``: What each group, layer or tensor costs to compress: the results of many trials of one
  change each.
"""
