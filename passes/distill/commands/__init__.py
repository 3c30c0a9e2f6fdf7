"""The commands `distill` and `trainer`.

- ``distill``: Train a student towards a teacher, without labels.
- ``trainer``: Install, check or remove the environment that distill trains in.
"""
