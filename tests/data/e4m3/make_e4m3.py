#!/usr/bin/env python3
"""Writes e4m3.safetensors: conversions to and from E4M3 as the Python package ml_dtypes (float8_e4m3fn) does them.

    pip install ml_dtypes numpy && tests/data/e4m3/make_e4m3.py

Tensors: `values` F32 [256], the number of each code; `bf16_codes` U8 [65536], the code of each BF16 number, by its bits;
`f32_inputs` F32 [n] and `f32_codes` U8 [n]: each number of E4M3, the middle between it and the next, and the floats just
below and above both, of either sign. ml_dtypes makes a NaN of what is too large; saturation is for the reader to apply.
"""
import json
import pathlib
import struct

import ml_dtypes
import numpy as np

values = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
bf16 = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
grid = np.append(values[:0x7F], np.float32(480))  # 480 would follow 448
points = np.concatenate([grid, (grid[:-1] + grid[1:]) / 2]).astype(np.float32)
points = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
inputs = np.unique(np.concatenate([points, -points]).view(np.uint32)).view(np.float32)
tensors = {
    "values": ("F32", values),
    "bf16_codes": ("U8", bf16.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)),
    "f32_inputs": ("F32", inputs),
    "f32_codes": ("U8", inputs.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)),
}
header, offset = {}, 0
for name, (dtype, array) in tensors.items():
    header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
    offset += array.nbytes
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(pathlib.Path(__file__).parent / "e4m3.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in tensors.values():
        file.write(array.tobytes())
