"""The border to a user's own graphsurgeon code: the live graph is opened for it and taken back.

- ``adopt``: Take what graphsurgeon code left behind back into the live graph.
- ``before``: What a model held before a user's code changed it.
- ``declarations``: What a model declares around its graph, brought up to date after surgery: operator sets,
  ports, types.
- ``graph_proxy``: The live graph opened for graphsurgeon code that a user brings along.
- ``proxies``: Tensors and nodes opened for graphsurgeon code that a user brings along.
- ``rewire``: Names and edges written anew from what the nodes of a model say.
"""
