"""Sizes and samples that a model runs on, found by running it.

- ``samples``: Synthetic samples on which a model runs: drawn in several ways until one is found that it
  takes.
- ``shapes``: Choose sizes for the dynamic dimensions of a model, by running it.
- ``sizes``: Unknown sizes of model inputs, and the sizes worth trying for them.
"""
