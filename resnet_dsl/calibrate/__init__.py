"""What the values of a network are like on real images, and the ranges that a quantised type is best given.

taps        an ONNX file whose inner values are outputs too
histogram   a value over many images: range, moments, magnitudes
observe     the network run on images, its values counted
grids       what a quantised type can hold, and what rounding to it costs
methods     from a histogram to the range that is kept
store       calibrations on the disk
calibrate   all of it: reuse, or run and keep
search      the fastest mix of precisions within a loss of accuracy

Nothing here imports torch; `taps` alone imports ONNX Runtime.
"""
