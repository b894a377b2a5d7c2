"""What the end-to-end tests share: running the commands and reading safetensors, with the standard library only."""
import array
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ["NEMOTRON_BIN"])
PLANS = pathlib.Path(os.environ["NEMOTRON_PLANS"])
DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
TINY = DATA / "models" / "nemotron-h-tiny"


def run(tool, *args, check=True, text=True, **options):
    """Runs a command of ours; with `check`, a failure shows what it said."""
    command = [str(BIN / tool), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=text, timeout=240, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\nexited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def read_safetensors(path):
    """name -> (shape, array of float or int)."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, info in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        values = array.array({"F32": "f", "I64": "q"}[info["dtype"]])
        values.frombytes(data[8 + size + begin:8 + size + end])
        tensors[name] = (info["shape"], values)
    return tensors


def log_softmax(row):
    top = max(row)
    norm = top + math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - norm for x in row]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.tmp = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def plan(self, name):
        path = PLANS / f"{name}.plan"
        self.assertTrue(path.exists(), f"{path} was not compiled")
        return path

    def write(self, name, text):
        path = self.tmp / name
        path.write_text(text)
        return path


def main():
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
