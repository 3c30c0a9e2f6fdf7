"""Files for people and other programs: pages, and values that graph viewers lay over a model.

- ``check_files``: The outcome of ``graphopt check`` for machines: JUnit XML and a Markdown summary.
- ``overlay``: Values of nodes in files that graph viewers lay over a model.
- ``pages``: Pages of report files, written to disk.
"""
