"""Random graphs, an oracle that knows nothing of the implementation, and campaigns of thousands of runs.

graphs/    the generator
specs      what is run over the graphs
oracle     runs a spec through the public API and judges what it wrote
yardstick  how far a model's own outputs move by rounding and by noise
minimise   the smallest recipe that still fails
campaign   many seeds in processes that may crash or hang, resumable
"""
