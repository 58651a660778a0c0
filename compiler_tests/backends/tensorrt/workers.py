"""Parts of small programs that stand in for the process that builds an engine."""

from __future__ import annotations

START = """
import json, os, signal, sys, time
request = json.loads(sys.stdin.readline())
def say(event, **fields): print(json.dumps({"event": event, **fields}), flush=True)
"""
RESULT = {
    "version": "1.7.1.116",
    "precision": "fp16",
    "targets": [86],
    "profiles": [],
    "inputs": [{"name": "input", "data_type": "float32", "shape": [8, 3, 32, 32]}],
    "outputs": [{"name": "logits", "data_type": "float32", "shape": [8, 10]}],
    "seconds": {"build": 1.0},
    "size": 64,
    "sha256": "00",
    "peak_memory": None,
}
ENGINE = b"vtrt" + bytes(12) + (64).to_bytes(8, "little") + bytes([1, 7, 1, 116]) + bytes(36)
