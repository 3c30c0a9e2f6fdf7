"""Random graphs.

draft    a graph in the making: tensors with their shapes, operators as each opset wants them
blocks/  plain functions, one building block of networks each
recipe   which blocks, in which order, with which quirks: what a seed stands for, and what is minimised
quirks   changes to a finished model that alter no number: versions, names, where constants are kept
feeds    samples for a generated model
"""
