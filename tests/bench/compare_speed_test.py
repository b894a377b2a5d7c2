#!/usr/bin/env python3
"""compare_speed.py with benchmarks that print what they are told to."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("compare_speed.py")

# Appends its name and arguments to calls, and prints outputs/NAME, in which {i} stands for the next of its figures.
FAKE = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
name = pathlib.Path(__file__).name
calls = here / "calls"
before = calls.read_text().splitlines() if calls.exists() else []
figures = json.loads((here / "figures").read_text())[name]
with open(calls, "a") as file:
    print(name, *sys.argv[1:], file=file)
figure = figures[sum(call.split()[0] == name for call in before) % len(figures)]
if figure is None:
    sys.exit("the fake has no figure")
print((here / ("output-" + name)).read_text().replace('"FIGURE"', str(figure)))
"""


class CompareSpeedTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tmp = pathlib.Path(folder.name)
        for name in ("nemotron-bench", "llama-bench", "llama-batched-bench"):
            path = self.tmp / name
            path.write_text(FAKE.format(python=sys.executable))
            path.chmod(0o755)
        for name in ("h05-bf16.plan", "h05-fp8.plan", "d05-fp8.plan", "h05-bf16.gguf", "h05-q8_0.gguf"):
            (self.tmp / name).touch()
        (self.tmp / "output-llama-bench").write_text('[{"avg_ts": "FIGURE"}]')
        (self.tmp / "output-llama-batched-bench").write_text('noise\n{"speed_tg": "FIGURE"}\n')

    def fakes(self, results, **figures):
        (self.tmp / "output-nemotron-bench").write_text(json.dumps({"results": results}))
        (self.tmp / "figures").write_text(json.dumps({name.replace("_", "-"): values for name, values in figures.items()}))

    def compare(self, rows, *args, fails=False):
        done = subprocess.run([sys.executable, SCRIPT, "--nemotron-bench", self.tmp / "nemotron-bench", "--plans", self.tmp,
                               "--llama-bench", self.tmp / "llama-bench", "--llama-batched-bench",
                               self.tmp / "llama-batched-bench", "--ggufs", self.tmp, "--rows", rows, "--threads", "3", *args],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1 if fails else 0, done.stderr)
        if fails:
            self.assertNotIn("Traceback", done.stderr)
            return done.stderr
        self.notes = done.stderr
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]

    def calls(self):
        calls = self.tmp / "calls"
        return [call.split() for call in calls.read_text().splitlines()] if calls.exists() else []

    def test_a_row_beside_the_peer(self):
        self.fakes([{"test": "tg64", "tokens_per_second": "FIGURE"}], nemotron_bench=[100, 120, 80], llama_bench=[50, 40, 50])
        asked, saved = self.tmp / "asked.json", self.tmp / "table.json"
        asked.write_text('{"tg-h05-fp8": 1.25}')
        row = ["tg-h05-fp8", "tg64, h05-fp8 / llama.cpp h05-q8_0", "1.25", "2.00 (1.60 to 3.00)", "100.0", "50.0 tokens/s"]
        flags = ["--rounds", "3", "--asked", asked, "--json", saved]
        self.assertEqual(self.compare("tg-h05-fp8", *flags), [row])
        self.assertEqual([call[0] for call in self.calls()],
                         ["nemotron-bench", "llama-bench", "llama-bench", "nemotron-bench", "nemotron-bench", "llama-bench"])
        self.assertEqual(self.calls()[0][1:], [str(self.tmp / "h05-fp8.plan"), "-p", "0", "-n", "64", "-d", "0", "-b", "1", "-r", "1",
                                               "-t", "3", "--json", "--no-peak"])
        self.assertEqual(self.calls()[1][1:], ["-m", str(self.tmp / "h05-q8_0.gguf"), "-p", "0", "-n", "64", "-d", "0", "-r", "1", "-t",
                                               "3", "-o", "json"])
        self.assertEqual(json.loads(saved.read_text())["tg-h05-fp8"]["ratios"], [2, 3, 1.6])
        # Again: what is there is printed, not measured.
        self.assertEqual(self.compare("tg-h05-fp8", *flags), [row])
        self.assertEqual(len(self.calls()), 6)

    def test_ourselves_at_a_depth(self):
        self.fakes([{"test": "pp512", "tokens_per_second": 1000}, {"test": "pp512@d16384", "tokens_per_second": "FIGURE"}],
                   nemotron_bench=[700, 800])
        self.assertEqual(self.compare("depth-pp-h05-bf16", "--rounds", "2"),
                         [["depth-pp-h05-bf16", "pp512, h05-bf16, at depth 16384 / at 0", "-", "0.75 (0.70 to 0.80)", "750.0",
                           "1000 tokens/s"]])
        self.assertEqual(self.calls()[0][2:10], ["-p", "512", "-n", "0", "-d", "0,16384", "-b", "1"])

    def test_several_sequences(self):
        self.fakes([{"test": "tg64", "tokens_per_second": 10}, {"test": "tg64@b8", "tokens_per_second": "FIGURE"}],
                   nemotron_bench=[50], llama_batched_bench=[40])
        rows = self.compare("batch-8,batch-llama-8", "--rounds", "1")
        self.assertEqual([row[3] for row in rows], ["5.00 (5.00 to 5.00)", "1.25 (1.25 to 1.25)"])
        self.assertEqual(self.calls()[0][6:10], ["-d", "0", "-b", "1,8"])
        self.assertEqual(self.calls()[2][3:], ["-c", "576", "-npp", "8", "-ntg", "64", "-npl", "8", "-t", "3", "--output-format", "jsonl"])

    def test_share_of_read_bandwidth(self):
        self.fakes([{"test": "tg64", "bytes_per_second": 30e9, "share_of_read_bandwidth": "FIGURE"}], nemotron_bench=[0.75])
        self.assertEqual(self.compare("read-h05-bf16", "--rounds", "1")[0][3:], ["0.75 (0.75 to 0.75)", "30.0", "40.0 GB/s"])
        self.assertNotIn("--no-peak", self.calls()[0])

    def test_share_of_dot_peak(self):
        kernels = [{"kernel": "cpu.linear", "seconds": 1, "flops": 400e9, "share_of_dot_peak": 0.5},
                   {"kernel": "cpu.scaled_matmul", "seconds": 3, "flops": "FIGURE", "share_of_dot_peak": 0.9},
                   {"kernel": "cpu.rms_norm", "seconds": 9, "flops": 0}, {"kernel": "cpu.attention", "seconds": 9, "flops": 5e12}]
        self.fakes([{"test": "pp512", "profile": {"kernels": kernels}}], nemotron_bench=[2800e9])
        # Half of one second and 0.9 of three would have been enough: 3.2 of 4; 3200 GFLOP in 4 s, and in 3.2 s.
        self.assertEqual(self.compare("gemm-h05-fp8", "--rounds", "1")[0][3:], ["0.80 (0.80 to 0.80)", "800.0", "1000 GFLOP/s"])
        self.assertIn("--profile", self.calls()[0])

    def test_hybrid_beside_dense(self):
        self.fakes([{"test": "tg64@d16384", "tokens_per_second": "FIGURE"}], nemotron_bench=[90, 30])
        self.assertEqual(self.compare("hybrid-16384", "--rounds", "1")[0][3], "3.00 (3.00 to 3.00)")
        self.assertEqual([call[1][-12:] for call in self.calls()], ["h05-fp8.plan", "d05-fp8.plan"])

    def test_rows_without_files_are_left_out(self):
        self.fakes([{"test": "pp512", "tokens_per_second": "FIGURE"}], nemotron_bench=[1], llama_bench=[1])
        self.assertEqual([row[0] for row in self.compare("pp", "--rounds", "1")], ["pp-h05-bf16", "pp-h05-fp8"])
        self.assertRegex(self.notes, re.escape("pp-h05-int8: left out, there is no ") + ".*h05-int8.plan")

    def test_errors(self):
        self.fakes([{"test": "tg64", "tokens_per_second": "FIGURE"}], nemotron_bench=[1], llama_bench=[None])
        self.assertIn("there is no row or group 'speed'", self.compare("tg,speed", fails=True))
        self.assertRegex(self.compare("tg-h05-fp8", fails=True), "llama-bench -m .*\nexited with 1\nthe fake has no figure")
        self.assertIn("prints something else than expected: KeyError('pp512')", self.compare("pp-h05-fp8", fails=True))
        self.fakes([{"test": "pp512", "profile": {"kernels": []}}], nemotron_bench=[1])
        self.assertIn("has no matrix products", self.compare("gemm-h05-fp8", fails=True))
        asked = self.tmp / "asked.json"
        asked.write_text('{"pp-h05": 1}')
        self.assertIn("names rows that there are not: pp-h05", self.compare("pp", "--asked", asked, fails=True))


if __name__ == "__main__":
    unittest.main()
