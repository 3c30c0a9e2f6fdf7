"""Checks that a model still is what its passes promised.

- ``discontinuities``: Operators behind which small differences say nothing: random ones, and those that
  choose.
- ``judged``: The float tensors by which two versions of a model are compared, also where every output is an
  integer.
- ``reference``: The model as it was before some passes, kept to compare what they leave with it.
- ``verifier``: Checks that the model still is what its passes promised: structure, signature and numbers.
"""
