"""Checkpoints that come quantized: a golden is quantized here by plain loops, written as ModelOpt and compressed-tensors
write it, compiled and run. Every number of a matrix and every scale must be in the plan, bit for bit."""
import array
import bisect
import json
import pathlib
import struct

from support import DATA, Case, main, run

# All finite numbers of E4M3 that are not negative, by their code.
NUMBERS = [(code & 7) * 2.0 ** -9 if code < 8 else (8 + (code & 7)) * 2.0 ** ((code >> 3) - 10) for code in range(127)]
MIDDLES = [(a + b) / 2 for a, b in zip(NUMBERS, NUMBERS[1:])]


def encode(x):
    code = bisect.bisect_left(MIDDLES, abs(x))
    if code < 126 and MIDDLES[code] == abs(x) and code % 2:  # a tie goes to the even code
        code += 1
    return code | (0x80 if x < 0 else 0)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def read_checkpoint(folder):
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (info["dtype"], info["shape"], data[8 + size + info["data_offsets"][0]:
                                                      8 + size + info["data_offsets"][1]])
            for name, info in header.items()}


def write_checkpoint(folder, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def floats(dtype, data):
    if dtype == "F32":
        return array.array("f", data).tolist()
    return [struct.unpack("<f", b"\0\0" + data[i:i + 2])[0] for i in range(0, len(data), 2)]


class QuantizedCheckpoint(Case):
    def quantize(self, golden, per_row=False, kv_scales=None, input_scale=None):
        """A copy of the golden whose layers are quantized; returns folder and tensors."""
        source = DATA / "goldens" / golden
        folder = self.tmp / f"{golden}-{per_row}-{bool(kv_scales)}"
        folder.mkdir()
        (folder / "config.json").write_text((source / "config.json").read_text())
        tensors = {}
        for name, (dtype, shape, data) in read_checkpoint(source).items():
            module = name.removesuffix(".weight")
            is_matrix = len(shape) == 2 and "layers." in name and module.endswith("_proj")
            if not is_matrix:
                tensors[name] = (dtype, shape, data)
                continue
            rows, columns = shape
            values = floats(dtype, data)
            groups = [values[r * columns:(r + 1) * columns] for r in range(rows)] if per_row else [values]
            scales = [f32(max(max(abs(x) for x in group) / 448, 1e-30)) for group in groups]
            codes = bytes(encode(x / scale) for group, scale in zip(groups, scales) for x in group)
            tensors[name] = ("F8_E4M3", shape, codes)
            tensors[f"{module}.weight_scale"] = ("F32", [rows, 1] if per_row else [], array.array("f", scales).tobytes())
            if input_scale:
                tensors[f"{module}.input_scale"] = ("F32", [], struct.pack("<f", input_scale))
            if kv_scales and module.endswith(("k_proj", "v_proj")):
                tensors[f"{module}.{module[-6]}_scale"] = ("F32", [], struct.pack("<f", kv_scales[module[-6]]))
        write_checkpoint(folder, tensors)
        return folder, tensors

    def weights(self, plan):
        """name -> (shape, bytes) of a plan."""
        data = pathlib.Path(plan).read_bytes()
        report = json.loads(run("nemotron-inspect", plan, "--json").stdout)
        return {w["name"]: (w["shape"], data[w["offset_bytes"]:w["offset_bytes"] + w["size_bytes"]])
                for w in report["weights"]}, report

    @staticmethod
    def panel_byte(columns, row, k):
        """Where an E4M3 number lies in a packed matrix: runtime/plan/layout.h."""
        depth = (columns + 3) // 4 * 4
        inner, lane = k % 4, row % 16
        return row // 16 * 16 * depth + k // 4 * 64 + lane // 4 * 16 + inner // 2 * 8 + lane % 4 * 2 + inner % 2

    def check_matrix(self, weights, tensors, plan_name, tensor):
        _, (rows, columns), codes = tensors[f"{tensor}.weight"]
        shape, packed = weights[plan_name]
        self.assertEqual(shape, [rows, columns])
        for row in range(rows):
            for k in range(columns):
                self.assertEqual(packed[self.panel_byte(columns, row, k)], codes[row * columns + k], (row, k))
        self.assertEqual(weights[f"{plan_name}.weight_scale"][1], tensors[f"{tensor}.weight_scale"][2])

    def compare(self, a, b):
        ids = self.write("ids.json", json.dumps([(7 * i * i + 3 * i) % 500 for i in range(96)]))
        return json.loads(run("nemotron-run", "--compare", a, b, "--prompt-ids", ids, "--json").stdout)

    def test_modelopt(self):
        folder, tensors = self.quantize("nemotron-h-dense", kv_scales={"k": 0.0625, "v": 0.03125}, input_scale=0.02)
        (folder / "hf_quant_config.json").write_text(json.dumps({
            "producer": {"name": "modelopt", "version": "0.29"},
            "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}))
        plan = self.tmp / "modelopt.plan"
        printed = run("nemotron-compile", folder, "-o", plan).stderr
        self.assertRegex(printed, r"layer 0 mamba: in_proj e4m3 .*input_scale static")
        weights, report = self.weights(plan)
        self.check_matrix(weights, tensors, "layers.0.in_proj", "backbone.layers.0.mixer.in_proj")
        self.check_matrix(weights, tensors, "layers.0.out_proj", "backbone.layers.0.mixer.out_proj")
        scales = {d["parameters"]["scale"] for d in report["program"] if d["parameters"].get("scaling") == "static"}
        self.assertEqual(scales, {f32(0.02)})
        attention = [d["parameters"] for d in report["program"] if d["kernel"] == "cpu.attention"]
        self.assertGreater(len(attention), 0)
        for parameters in attention:
            self.assertEqual((parameters["key_scale"], parameters["value_scale"]), (0.0625, 0.03125))
        self.assertEqual({s["dtype"] for s in report["states"] if s["kind"] == "kv_cache"}, {"f8e4m3"})

    def test_compressed_tensors(self):
        folder, tensors = self.quantize("nemotron-4", per_row=True)
        config = json.loads((folder / "config.json").read_text())
        scheme = {"num_bits": 8, "type": "float", "symmetric": True}
        config["quantization_config"] = {
            "quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"],
                                          "weights": {**scheme, "strategy": "channel", "dynamic": False},
                                          "input_activations": {**scheme, "strategy": "token", "dynamic": True}}}}
        (folder / "config.json").write_text(json.dumps(config))
        plan, back = self.tmp / "ct.plan", self.tmp / "back.plan"
        printed = run("nemotron-compile", folder, "-o", plan).stderr
        self.assertRegex(printed, r"layer 0 decoder: .*q_proj e4m3")
        weights, _ = self.weights(plan)
        self.check_matrix(weights, tensors, "layers.0.o_proj", "model.layers.0.self_attn.o_proj")
        # The same numbers in F32 and the golden itself: quantized inputs cost a little, quantized weights too.
        run("nemotron-compile", folder, "-o", back, "--dequantize", "--dtype", "f32", "-q")
        self.assertEqual({m["dtype"] for layer in self.weights(back)[1]["layers"] for m in layer["matrices"]}, {"f32"})
        inputs, both = self.compare(back, plan), self.compare(self.plan("nemotron-4-f32"), plan)
        print(f"mean KL of 8-bit inputs {inputs['kl_divergence']['mean']:.2e}, and weights {both['kl_divergence']['mean']:.2e}")
        self.assertLess(inputs["kl_divergence"]["mean"], 0.05)
        self.assertLess(both["kl_divergence"]["mean"], 0.05)

    def test_missing_and_wrong_scales(self):
        folder, tensors = self.quantize("nemotron-h-dense")
        (folder / "hf_quant_config.json").write_text(json.dumps({
            "producer": {"name": "modelopt", "version": "0.29"},
            "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}))
        plan = self.tmp / "x.plan"
        # The checkpoint declares an FP8 cache without its scales: 1.0, and said so.
        printed = run("nemotron-compile", folder, "-o", plan).stderr
        self.assertRegex(printed, r"k_scale.*1(\.0)?\b")
        name = "backbone.layers.0.mixer.in_proj"
        for bad, word in ((0.0, "0"), (-1.0, "-1"), (float("nan"), "nan"), (float("inf"), "inf")):
            write_checkpoint(folder, {**tensors, f"{name}.weight_scale": ("F32", [], struct.pack("<f", bad))})
            done = run("nemotron-compile", folder, "-o", self.tmp / "y.plan", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{name}.weight_scale", done.stderr)
            self.assertIn(word, done.stderr.lower())
            self.assertIn("model.safetensors", done.stderr)
        dtype, shape, data = tensors[f"{name}.weight"]
        write_checkpoint(folder, {**tensors, f"{name}.weight": ("F8_E5M2", shape, data)})
        done = run("nemotron-compile", folder, "-o", self.tmp / "y.plan", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"in_proj\.weight.*F8_E5M2.*F8_E4M3")
        write_checkpoint(folder, {**tensors, f"{name}.weight": (dtype, shape, b"\x7f" + data[1:])})
        done = run("nemotron-compile", folder, "-o", self.tmp / "y.plan", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"in_proj\.weight.*nan")
        write_checkpoint(folder, tensors)
        done = run("nemotron-compile", folder, "-o", self.tmp / "y.plan", "--quantize", "fp8", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--dequantize", done.stderr)
        self.assertFalse((self.tmp / "y.plan").exists())


if __name__ == "__main__":
    main()
