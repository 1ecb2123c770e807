"""weighbridge weighs a deep neural network before it runs."""

__version__ = "0.1.0"
