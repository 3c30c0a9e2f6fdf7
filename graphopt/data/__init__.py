"""Samples for calibration and evaluation: arrays, images and synthetic images, preprocessed for a model.

``load("photos::64", model.signature.inputs, parse_preprocess("imagenet"))`` gives a repeatable, streaming
Samples.

- ``draws``: How the values of synthetic inputs are drawn: several ways, because not every model takes every
  number.
- ``element_types``: What kind of numbers an element type holds; numpy itself knows nothing of bfloat16,
  float8 and int4.
- ``feeder``: What stands behind Samples: a numbered set of raw rows that can be read, hashed and turned into
  feeds.
- ``given``: Samples from whatever a caller has: DATA text, arrays, data loaders, calibration readers.
- ``ground_truth``: What is right for each sample of a detector or a segmenter.
- ``labels``: Class labels: integer arrays, a ``labels.csv`` beside images, or the names of class folders.
- ``load``: The entry: from a DATA text, or arrays in memory, to Samples that fit a model's inputs.
- ``pixel_range``: Warn where a model that seems to take normalised images is fed with pixels from 0 to 255.
- ``ports``: What a model's inputs say about the samples they take: known dims, batch axis, image layout.
- ``preprocess``: How images become feeds.
- ``remote_path``: A file or folder that lies elsewhere (``s3://``, ``gs://``, ``http(s)://``, ``hdfs://``),
  through fsspec.
- ``row_cache``: Rows that are kept once they are read, as far as memory is meant for them.
- ``samples``: Samples: a repeatable, streaming set of feeds for a model, with labels when the data has them.
- ``sources``: Where samples come from: arrays, files, folders and archives of images, or a seeded generator.
- ``spec``: The syntax that names samples: ``PATH``, ``PATH#NAMES``, ``PATH::64``, ``PATH#NAMES::64:``.
"""

from __future__ import annotations

from graphopt.data.draws import STYLES, Style
from graphopt.data.element_types import is_float, is_integer, is_text
from graphopt.data.given import open_samples
from graphopt.data.load import from_arrays, load
from graphopt.data.pixel_range import pixel_warnings
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.declared import recipe_for
from graphopt.data.preprocess.parse import parse_preprocess
from graphopt.data.preprocess.presets import PRESETS
from graphopt.data.preprocess.transform import looks_unnormalised
from graphopt.data.samples import Batch, Sample, Samples, shared
from graphopt.data.sources.spool import spooled
from graphopt.data.sources.synthetic import synthetic
from graphopt.data.spec import DataSpec, parse_spec

__all__ = [
    "PRESETS",
    "STYLES",
    "Batch",
    "DataSpec",
    "Preprocess",
    "Sample",
    "Samples",
    "Style",
    "from_arrays",
    "is_float",
    "is_integer",
    "is_text",
    "load",
    "looks_unnormalised",
    "open_samples",
    "parse_preprocess",
    "parse_spec",
    "pixel_warnings",
    "recipe_for",
    "shared",
    "spooled",
    "synthetic",
]
