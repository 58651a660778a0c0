"""Proof of what the targets of a network compute: every value, beside what the arithmetic explains.

The reference is the network that the spec says, before any pass, computed in float64 (`interpreter.py`). What may
differ from it, and by how much, follows from the arithmetic of a target (`rounding.py`, `bounds.py`, `spread.py`).
"""
