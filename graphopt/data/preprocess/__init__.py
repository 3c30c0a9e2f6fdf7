"""How images become feeds.

- ``config``: How images become feeds: a recipe of geometry, colour, layout and value steps.
- ``declared``: The preprocessing that a model's own metadata says it needs: the entry ``preprocessing``, in
  our text.
- ``geometry``: Where the pixels of an image lie in the feed that preprocessing makes of it, for boxes and
  masks.
- ``parse``: Reads preprocessing recipes from text such as ``imagenet;size=299`` or from a TOML file.
- ``presets``: Named preprocessing recipes; each is an ordinary preprocess text that overrides may follow.
- ``transform``: Applies a preprocessing recipe to one image: uint8 pixels in, a feed of the model's dtype
  out.
"""
