"""resnet_dsl: a compiler whose source language is a declarative spec of a residual network."""

__version__ = "0.1.0"
