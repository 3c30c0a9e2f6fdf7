"""The local page: views of a model and a thin server, to look, steer, veto and replay.

- ``explored``: A measured front as the page shows it: figures of each point, and which rows of the graph it
  changes.
- ``front``: What compressing each part is predicted to save and to cost, and the best sets of parts.
- ``jobs``: One job at a time, the others in a queue, with what is known of each.
- ``page``: The page itself: the model's graph and layers, and the script that steers.
- ``server``: Serves the page on the loopback: a token, one origin, and nothing outside the named folders.
- ``workbench``: The state of one page: a model, what was studied of it, what was measured.
"""
