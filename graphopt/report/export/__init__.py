"""Files for people and other programs: pages, and values that graph viewers lay over a model.

- ``overlay``: Values of nodes in files that graph viewers lay over a model.
- ``pages``: Pages of report files, written to disk.
"""
