"""Spec to program: the only place where widths, strides and names are worked out."""

from resnet_dsl.lower.network import lower

__all__ = ["lower"]
