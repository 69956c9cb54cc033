"""Kilter: a workbench for aligning language models, on one record."""

__version__ = "0.1.0"
