"""How good networks are: what `resnet-dsl eval` does, from what it is given to its tables.

subjects, runs          which networks, with which weights; what a training has left beside them
geometry, normalise     which parts of an image a network sees, and how they are standardised
images, views           images read and cut
networks, dense, graphs what turns images into scores: a torch module, at any image size; an ONNX graph
scoring                 the loop: scores of views and of ensembles, counted
report, figure          tables, files and a picture of the counts
feed, feed_*            images standardised as NumPy arrays, for what is not an evaluation but needs its images

`dense`, `feed_images`, `graphs`, `images`, `networks`, `scoring` and `views` import torch, and are imported by
functions alone.
"""
