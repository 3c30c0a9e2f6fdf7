"""What a channel is worth.

- ``consumers``: The layers that read channels, and the statistics that say what they lose without some of
  them.
- ``criteria``: What makes a channel important, apart from the default (obs.py): one idea a file.
- ``data_free``: Pruning without data: what readers lose, and what their biases take over, by expected values.
- ``dead_channels``: Channels that do not matter at all; what the others matter is in obs.py and criteria.
- ``moment_propagation``: What channels carry on average, predicted without any data.
- ``obs``: Rank channels by how much worse the layers that read them get, after the best repair (group OBS).
- ``ranking``: In which order the channels of each cell may go, and what that costs.
"""
