"""The commands, one file each: what one takes, the Python function that it calls, and what it prints.

- ``check``: ``graphopt check``: a gate for CI.
- ``compare``: ``graphopt compare``: two models side by side.
- ``evaluate``: ``graphopt evaluate``: measure a model on samples.
- ``explore``: ``graphopt explore``: the Pareto front of speed, size and quality, each point a plan to replay.
- ``inspect``: ``graphopt inspect``: what is in a model.
- ``optimize``: ``graphopt optimize``: run passes over a model and write the result.
- ``passes``: ``graphopt passes``: what passes there are, and what options one takes.
- ``report``: ``graphopt report``: pages made of report files.
- ``sensitivity``: ``graphopt sensitivity``: what each layer or group costs to compress.
- ``targets``: ``graphopt targets``: the backends that results can be for, what each takes, and whether it was
  run.
- ``ui``: ``graphopt ui``: look at a model and steer its compression on a local page.
"""
