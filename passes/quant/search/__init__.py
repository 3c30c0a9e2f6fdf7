"""Choices made by trying and by timing.

- ``fallbacks``: Ways to store a model that lose less and less, for a budget to climb before layers stay
  float.
- ``model_choice``: Choose between a fully quantized, a mixed and a float model by their measured time.
- ``noise_bisection``: Leave float the few layers that make much of the noise of the outputs alone.
- ``offers``: What ``quant`` offers to a search over all passes: each layer in 8 bits.
- ``output_sqnr``: How far a network's outputs are from the float network's, on samples that nothing was
  fitted to.
- ``search``: Choices that are made by trying: what to do to channels, and what stays float under a budget.
- ``speed``: Leave float what 8 bits would slow down, by measurement.
- ``times_cache``: Times of models and their kernels, measured once: what is decided by them is the same in
  every run.
"""
