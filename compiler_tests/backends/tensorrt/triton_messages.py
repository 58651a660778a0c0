"""The messages of Triton's model_config.proto that a configuration of ours may use, for protobuf's own parser.

Names, numbers and types are those of triton-inference-server/common, protobuf/model_config.proto; what is left out
there are fields that no network of ours needs, so that a text with another name does not parse.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

# protobuf has no type stubs
descriptor_pb2, descriptor_pool, message_factory, text_format = (
    import_module(f"google.protobuf.{name}")
    for name in ("descriptor_pb2", "descriptor_pool", "message_factory", "text_format")
)
ParseError: type[Exception] = text_format.ParseError

_ENUMS = {
    "DataType": "TYPE_INVALID=0 TYPE_BOOL=1 TYPE_UINT8=2 TYPE_INT8=6 TYPE_INT32=8 TYPE_INT64=9 TYPE_FP16=10 "
    "TYPE_FP32=11 TYPE_FP64=12 TYPE_STRING=13 TYPE_BF16=14",
    "Format": "FORMAT_NONE=0 FORMAT_NHWC=1 FORMAT_NCHW=2",
    "Kind": "KIND_AUTO=0 KIND_GPU=1 KIND_CPU=2 KIND_MODEL=3",
}
# `*` repeated, `%` a map from a string
_MESSAGES = {
    "ModelConfig": "name:string=1 platform:string=2 backend:string=17 max_batch_size:int32=4 input:*ModelInput=5 "
    "output:*ModelOutput=6 optimization:Optimization=12 dynamic_batching:DynamicBatching=11 "
    "instance_group:*InstanceGroup=7 default_model_filename:string=8 cc_model_filenames:%string=9 "
    "parameters:%Parameter=14 model_warmup:*Warmup=16",
    "ModelInput": "name:string=1 data_type:DataType=2 format:Format=3 dims:*int64=4",
    "ModelOutput": "name:string=1 data_type:DataType=2 dims:*int64=3 label_filename:string=4",
    "InstanceGroup": "name:string=1 kind:Kind=4 count:int32=2 gpus:*int32=3 profile:*string=5",
    "DynamicBatching": "preferred_batch_size:*int32=1 max_queue_delay_microseconds:uint64=2",
    "Optimization": "cuda:Cuda=3 execution_accelerators:Accelerators=4",
    "Cuda": "graphs:bool=1 busy_wait_events:bool=2 graph_spec:*GraphSpec=3 output_copy_stream:bool=4",
    "GraphSpec": "batch_size:int32=1 input:%Shape=2",
    "Shape": "dim:*int64=1",
    "Accelerators": "gpu_execution_accelerator:*Accelerator=1 cpu_execution_accelerator:*Accelerator=2",
    "Accelerator": "name:string=1 parameters:%string=2",
    "Parameter": "string_value:string=1",
    "Warmup": "name:string=1 batch_size:uint32=2 inputs:%WarmupInput=3 count:uint32=4",
    "WarmupInput": "data_type:DataType=1 dims:*int64=2 zero_data:bool=3 random_data:bool=4",
}
_FIELD: Any = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": 9, "int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "bool": 8}


def _add(message: Any, name: str, kind: str, number: int) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind.startswith("*"):
        field.label, kind = _FIELD.LABEL_REPEATED, kind[1:]
    if kind.startswith("%"):
        entry = "".join(map(str.capitalize, name.split("_"))) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add(nested, "key", "string", 1)
        _add(nested, "value", kind[1:], 2)
        field.label, kind = _FIELD.LABEL_REPEATED, f"{message.name}.{entry}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_ENUM if kind in _ENUMS else _FIELD.TYPE_MESSAGE
        field.type_name = f".inference.{kind}"


def _model_config() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="inference", syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in re.findall(r"(\w+)=(\d+)", values):
            enum.value.add(name=value, number=int(number))
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, kind, number in re.findall(r"(\w+):([*%]?\w+)=(\d+)", fields):
            _add(message, field, kind, int(number))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


_MODEL_CONFIG = _model_config()


def parse(text: str) -> Any:
    """A configuration as protobuf reads it; any name or value that it does not know is an error."""
    return text_format.Parse(text, _MODEL_CONFIG())
