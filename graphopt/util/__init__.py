"""What every part of the engine may use; it knows nothing of models.

- ``files``: Files written complete or not at all, plain values for them, content hashes, the cache folder.
- ``pages``: Pages of plain values: what draws them is registered by who puts graphopt together.
- ``phases``: How far a whole run is: its phases, how much of each is done, and the time left from measured
times.
- ``progress``: How work that takes long is shown: what every part that loops accepts, and what shows nothing.
- ``registry``: What other packages add to graphopt, found by name and imported when it is used.
- ``text``: Sentences that many parts of the engine say alike.
- ``user_module``: A Python file that the user named, executed as a module.
"""
