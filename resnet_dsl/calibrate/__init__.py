"""What the values of a network are like on real images, and the ranges that a quantised type is best given.

taps        an ONNX file whose inner values are outputs too
"""
