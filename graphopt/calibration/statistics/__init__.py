"""Statistics of activations: mergeable, and the same for every order of the samples; one a file.

- ``base``: What every statistic of activations can do.
- ``channel_moments``: Moments and ranges of each channel of a tensor.
- ``channel_range``: Smallest and largest value of each channel.
- ``gram``: Gram matrices of what linear layers read: all that least squares needs to know about the
  activations.
- ``head_moments``: Second moments of the channels of each head of attention.
- ``histogram``: A histogram of activations that is the same for every order and batch size of the samples.
- ``patches``: What each output position of a linear layer reads (im2col): activations as rows, weights as
  matrices.
- ``range``: Smallest and largest value of a tensor over all samples.
- ``sample_ranges``: The extremes of each sample, for ranges that do not grow with the number of samples.
- ``sums``: Sums of float64 arrays whose value does not depend on the order of the terms.
- ``table``: The statistics by name: ours, and those that other packages add.
"""
