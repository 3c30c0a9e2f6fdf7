"""What a training run is asked for.

- ``request``: One distillation as asked for.
- ``settings``: What a training run is asked for, apart from the models and the samples; plain values,
  JSON-able.
- ``terms``: Which tensors of the student are drawn to which of the teacher, and how.
"""
