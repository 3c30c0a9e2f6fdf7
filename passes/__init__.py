"""The rooms of graphopt: one folder a pass, installed as ``graphopt.passes``."""

if __name__ == "passes":
    raise ImportError(
        "import graphopt.passes, not passes: the folder at the top of a checkout is installed under "
        "graphopt (run `pip install -e .`), and importing it twice would make two different sets of classes"
    )
