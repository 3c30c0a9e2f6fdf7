"""A choice of channels carried out on the graph.

- ``apply``: Carry out a choice of channels: fit, then cut; what planning has fitted already is not fitted
  again.
- ``channel_counts``: Rewrite the attributes and size inputs that count channels or say where channels lie.
- ``cut``: Carry out a choice of channels: slice constants, and rewrite what counts channels.
"""
