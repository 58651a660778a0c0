"""TensorRT's own errors, as it words them, turned into findings."""

from __future__ import annotations

import pytest

from resnet_dsl.backends.tensorrt.failures import (
    ParserFinding,
    block_of,
    build_failure,
    clean,
    first_error,
    is_out_of_memory,
    parser_failure,
)

NO_DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
    "version))"
)
TURING = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing_op_compatibility] Cannot "
    "compile operation 'fc' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
    "/_src/optimizer/myelin/codeGenerator.cpp:2012)"
)
MIXED = (
    "Invalid Node - conv1\nITensor::getDimensions: Error Code 4: API Usage Error (conv1: IConvolutionLayer `input` and "
    "`kernel` must be of same type. `input` type is BFloat16 but `kernel` is of type Float. In validateTypes at "
    f"/_src/optimizer/common/nodes/convolutionNode.cpp:88)\n{NO_DRIVER}"
)
UNREADABLE = (
    "In node -1 with name:  and operator:  (deserializeOnnxModel): MODEL_DESERIALIZE_FAILED: Assertion failed: "
    "model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model."
)
PLUGIN = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            TURING,
            "Cannot compile operation 'fc' for Turing (SM75): FP32 GEMM is not supported.",
        ),
        (
            MIXED,
            "conv1: IConvolutionLayer `input` and `kernel` must be of same type. `input` type is BFloat16 but `kernel` "
            "is of type Float.",
        ),
        (UNREADABLE, "Failed to parse the ONNX model."),
        ("WeightsContext.cpp:203: Failed to open file: ext.data", "Failed to open file: ext.data"),
        ("something new", "something new"),
        (
            "[localCheckMacros.cpp::getErrorStr::132] Error Code 2: OutOfMemory (Requested size was 9 bytes.)",
            "Requested size was 9 bytes.",
        ),
    ],
)
def test_an_error_is_shown_in_its_own_words(said, words):
    assert clean(said) == words


def test_the_first_real_error_is_shown_not_the_missing_driver():
    error = build_failure("TensorRT for RTX", [NO_DRIVER, TURING, NO_DRIVER, "a later one"])
    (found,) = error.diagnostics
    assert found.code == "RD628"
    assert found.why == clean(TURING)
    assert first_error([NO_DRIVER]) is None


def test_where_memory_was_limited_the_limit_is_what_to_change():
    line = "Error Code 2: OutOfMemory (Requested size was 9 bytes.)"
    (found,) = build_failure("TensorRT", [line], workspace_mib=1).diagnostics
    assert (found.code, found.why) == ("RD604", "Requested size was 9 bytes.")
    assert found.hint is not None
    assert found.hint.startswith("leave `--workspace 1` out, or give more")
    (found,) = build_failure("TensorRT", [line]).diagnostics
    assert found.hint is not None
    assert found.hint.startswith("give a profile with a smaller batch")


def test_a_missing_driver_is_the_error_where_there_is_no_other():
    (found,) = build_failure("TensorRT", [NO_DRIVER]).diagnostics
    assert found.code == "RD621"
    (found,) = build_failure("TensorRT", []).diagnostics
    assert (found.code, found.why) == ("RD628", None)


def test_each_refused_node_is_named_as_the_block_of_the_spec():
    found = parser_failure(
        "TensorRT",
        [
            ParserFinding("INVALID_NODE", "layer1.0.join", "Gloop", 7, PLUGIN),
            ParserFinding("UNSUPPORTED_NODE", "", "Det", 9, "false"),
            ParserFinding("INVALID_NODE", "conv1", "Conv", 0, MIXED),
        ],
        [],
    ).diagnostics
    assert [item.code for item in found] == ["RD627"] * 3
    assert found[0].message == "TensorRT has no operation `Gloop`, which `layer1.0.join` is"
    assert found[1].message == "TensorRT has no operation `Det`, which node number 9 is"
    assert found[2].message == "TensorRT refuses `conv1` (Conv)"
    assert found[2].why == clean(MIXED)


def test_a_hundred_refused_nodes_are_not_a_hundred_findings():
    nodes = [ParserFinding("UNSUPPORTED_NODE", f"n{i}", "Det", i, "false") for i in range(100)]
    found = parser_failure("TensorRT", nodes, []).diagnostics
    assert len(found) == 11
    assert found[-1].message == "TensorRT refuses 90 more nodes"


def test_missing_external_data_is_told_from_the_log():
    list_says = ParserFinding("UNSUPPORTED_NODE", "", "", -1, "Failed to import initializer: fc")
    log = ["WeightsContext.cpp:203: Failed to open file: ext.data", "ModelImporter.cpp:151: ERROR"]
    (found,) = parser_failure("TensorRT", [list_says], log).diagnostics
    assert (found.code, found.why) == ("RD626", "Failed to open file: ext.data")
    (found,) = parser_failure("TensorRT", [list_says], []).diagnostics
    assert found.why == "Failed to import initializer: fc"


def test_a_node_is_told_with_its_block_also_where_a_pass_has_added_it():
    blocks = {"layer1.0.conv1": "layer1.0", "conv1": "stem", "fc": "fc"}
    nodes = ["layer1.0.conv1", "layer1.0.conv1.quantized", "layer1.0", "fc", "elsewhere", ""]
    assert [block_of(node, blocks) for node in nodes] == [
        "layer1.0",
        "layer1.0",
        None,
        None,
        None,
        None,
    ]
    refused = [ParserFinding("UNSUPPORTED_NODE", "layer1.0.conv1.cast", "Det", 9, "false")]
    (found,) = parser_failure("TensorRT", refused, [], blocks).diagnostics
    assert found.message == (
        "TensorRT has no operation `Det`, which `layer1.0.conv1.cast` in the block `layer1.0` is"
    )


def test_a_build_that_fails_names_the_first_block_in_its_words():
    said = "Error Code 9: Internal Error (layer2.1.conv2 + layer2.1.add: no tactic)"
    (found,) = build_failure("TensorRT", [said], {"layer2.1.conv2": "layer2.1"}).diagnostics
    assert found.message.endswith("from this graph: the block `layer2.1` (`layer2.1.conv2`)")
    (found,) = build_failure("TensorRT", [said], {"conv1": "stem"}).diagnostics
    assert found.message == "TensorRT cannot build an engine from this graph"


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 9 bytes.)", True),
        ("Unexpected exception std::bad_alloc", True),
        ("Cuda Runtime (out of memory)", True),
        ("MemoryError", True),
        ("bad_allocator_name", False),
        ("Memory usage: 5 MiB", False),
        (f"out of memory, or no driver: {NO_DRIVER}", False),
    ],
)
def test_a_line_that_speaks_of_too_little_memory_is_known(line, short):
    assert is_out_of_memory(line) is short
