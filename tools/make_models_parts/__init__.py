"""The steps of `make_models.py`: read Fashion-MNIST, train, export through two frameworks, check."""
