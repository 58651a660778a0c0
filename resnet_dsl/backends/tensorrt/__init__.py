"""TensorRT engines from an ONNX file whose precision is already in its graph.

One route for two products, TensorRT and TensorRT for RTX (`products`), and the GPUs they build for (`gpus`). The
build runs in a child process (`builder` is the parent, `worker` the child), because a wrong call can end the
interpreter. `header` reads an engine file without either product, `manifest` says what went into one.
"""
