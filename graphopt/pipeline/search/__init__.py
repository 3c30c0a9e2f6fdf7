"""How far passes may go: one budget over all of them, the degradation of a change, and trials.

- ``attempts``: Choices that were carried out, what each came to, and the prediction that each made better.
- ``budget``: One budget over all passes of a run: choose among their moves, try, correct what was predicted,
  try again.
- ``consumption``: What a model takes up, latency, MACs, bytes or parameters, under any set of moves: layer by
  layer.
- ``degradation``: How far a pass may go by itself: what it costs on samples that nothing else was fitted to.
- ``expected_disagreement``: How many answers of a classifier would change, judged from margins: finer than
  counting the few that did.
- ``market``: One multiplier over the moves of all passes: each item takes the move where degradation and use
  are least.
- ``noise_share``: Noise of a model's float tensors as a share of what they vary by from sample to sample.
- ``prediction``: From predicted degradation to points: a fit that every trial makes better.
- ``relative_time``: How many times as long as a model a changed one takes: what goals in time are measured
  by.
- ``search_trace``: What a search by trial tried, as a plot: what each trial leaves of the model, and how it
  degrades.
- ``sweep``: From hardly a loss to the most that may be lost: trials along the whole range, for a front to
  choose from.
- ``trials``: Trials of a search: the approximate passes of a run carried out on a copy, judged on held-out
  samples.
- ``weighted_macs``: Work of a model where its time cannot be measured: multiply-accumulates, each by the bits
  it computes in.
"""
