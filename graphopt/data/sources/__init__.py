"""Where samples come from: arrays, files, folders and archives of images, or a seeded generator.

- ``arrays``: Samples from arrays: ``.npz``, ``.npy`` and arrays in memory, matched to the model's inputs by
  name.
- ``columns``: Fits one array to one input of the model, or says in a sentence why it does not fit.
- ``files``: Image files of a folder, a ``.tar`` (also compressed) or a ``.zip``; archives are not extracted.
- ``images``: Samples from image files: decoded one by one, oriented by EXIF, put through the preprocessing
  recipe.
- ``remote``: Image files that lie elsewhere: in a folder, or in the ``.tar`` shards of one (WebDataset
  layout).
- ``rows``: Row by row reading of ``.npy`` files and ``.npz`` members in constant memory; pickles are never
  read.
- ``spool``: Prepared images are kept in a temporary file: many passes over the samples decode and resize them
  once.
- ``stream``: Rows from what Python code iterates: data loaders, data sets, generators, lists, calibration
  readers.
- ``synthetic``: Seeded synthetic samples for runs without data: natural-like images, plausible numbers for
  other inputs.
"""
