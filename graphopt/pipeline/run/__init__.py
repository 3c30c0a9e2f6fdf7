"""The loop of a run, from the request to the written file.

- ``budget_planner``: Plans the passes of a run that share its budget: the first whose turn comes starts the
  search for all.
- ``device``: Where the time of a run counts: a device behind a command, the target's runtime, or onnxruntime
  here.
- ``fix_shape``: Declares the sizes a model runs at as its only ones.
- ``front_planner``: Plans the passes of several runs over one model: the first sweeps, each carries out one
  choice.
- ``handover``: Puts a measured model into the form of its target, and runs that in its backends on request.
- ``inputs``: The samples and sizes of one run, worked out when first asked for and then kept.
- ``instruments``: What is observed around each pass of a run: how large the model is, and the model itself on
  request.
- ``lock``: A locked recipe: what a run was made of, by hash and version, so that nothing else is run in its
  place.
- ``manager``: The loop of a run: each pass is planned, applied, checked and recorded; a failure leaves a
  reproducer.
- ``output``: Where a run writes: checked before the work starts, and drafted beside before it appears.
- ``reproducer``: A folder that shows a failure again: the model before the pass, and the command that runs
  the rest.
- ``run``: One optimize run, from the request to the written and measured file.
- ``undo``: Takes the last passes of a run back where they make the result slower than the input.
"""
