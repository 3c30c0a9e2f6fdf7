"""What training is fed with: samples, the teacher's answers, changed images.

- ``augment``: Changes of images that the teacher sees as well: mirrored, shifted, mixed with one another.
- ``feeds``: What the training graph is fed with: inputs, the teacher's answers to them, labels as
  probabilities.
- ``samples``: Samples on disk for a trainer: split into training and validation, one array file for each
  graph input.
- ``teacher``: The teacher: a session that answers batches of any size, and what can be said of its answers.
"""
