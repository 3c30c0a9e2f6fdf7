"""Views of records and analyses, and nothing else: in the terminal, as pages, for other programs.

- ``export``: Files for people and other programs: pages, and values that graph viewers lay over a model.
- ``html``: Reports as one self-contained page: every text escaped, every plot drawn, nothing loaded from
  elsewhere.
- ``terminal``: Records and analyses as tables for people.
"""
