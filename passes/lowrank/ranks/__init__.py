"""What each layer could become at which price, and the rules that choose.

- ``candidates``: What each layer could become, and what that would cost: error, multiply-accumulates,
  parameters.
- ``choice``: The rules that choose a candidate for each layer, or none.
- ``hint``: A lower bound of ranks from the weights alone: what variational Bayes takes for signal.
- ``latency``: Spend milliseconds: candidates are timed one by one, and what they make of the whole network is
  measured.
- ``moves``: What ``lowrank`` offers to a search over all passes: each layer at a few ranks.
- ``offers``: What all layers of a model could become.
- ``paying``: Which tool pays where: what splitting a layer costs against pruning the channels that it reads.
- ``rules``: From what the user asked for to a choice.
- ``search``: How far to go when nobody says how far: as far as held-out samples show no degradation.
"""
