"""The environment that trains, and a test that it works.

- ``environment``: The training environment: a Python of its own with onnxruntime-training.
- ``selftest``: Train two steps of a tiny model, to see that a trainer works.
"""
