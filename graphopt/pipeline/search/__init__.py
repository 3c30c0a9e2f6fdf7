"""How far a pass may go: the degradation that a change of the model brings, and trials within a budget.

- ``degradation``: How far a pass may go by itself: what it costs on samples that nothing else was fitted to.
- ``expected_disagreement``: How many answers of a classifier would change, judged from margins: finer than
  counting the few that did.
- ``noise_share``: Noise of a model's float tensors as a share of what they vary by from sample to sample.
- ``relative_time``: How many times as long as a model a changed one takes: what goals in time are measured
  by.
- ``search_trace``: What a search by trial tried, as a plot: how much each trial leaves of the model, and what
  harm it does.
"""
