"""What each item of a plan costs alone.

- ``study``: What each item of a pass's plan costs: every one is carried out alone and measured on held-out
  samples.
- ``trial_evaluator``: Carry out trials on a model, each on the model as it was, and measure what they do to
  its outputs.
- ``trial_latency``: Predict how long the models of trials take, from the layers that went and came.
- ``trial_log``: Keep the results of trials as they come, so that a run that was stopped goes on where it was.
- ``workers``: Carry out trials in several processes; the results come as they are ready.
"""
