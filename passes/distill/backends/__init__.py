"""Trainers behind one protocol.

- ``base``: What a trainer is: it checks a job and tunes its parameters. Others register theirs by entry
  point.
- ``ort``: onnxruntime-training on the CPU, in the environment that ``graphopt trainer install`` makes.
- ``torch``: PyTorch, in the environment that graphopt runs in, or in that of the interpreter
  ``GRAPHOPT_TORCH``.
- ``worker``: A trainer in a process of its own, run by the interpreter of an environment of its own.
"""
