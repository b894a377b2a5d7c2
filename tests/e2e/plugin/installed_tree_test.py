"""Installs the build tree, moves it, builds docs/examples/pass-plugin and a C application against it, and runs both.

Usage: installed_tree_test.py FOLDER, a scratch folder with settings.json, which CMake writes."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

SCRATCH = pathlib.Path(sys.argv.pop(1)).resolve()
SETTINGS = json.loads((SCRATCH / "settings.json").read_text())
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TINY = ROOT / "tests" / "data" / "models" / "nemotron-h-tiny"
PREFIX = SCRATCH / "moved" / "prefix"
PLUGIN = SCRATCH / "pass-plugin" / "libCountOps.so"
DROP = "func.func(example-drop-layers{layers=%s})"


def run(*command, check=True):
    # Nothing but the files themselves says where libraries are.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, env=environment)
    if check and done.returncode != 0:
        text = " ".join(map(str, command))
        raise AssertionError(f"{text}\nexited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def build(source, folder):
    """Builds a project outside of the tree against the installed package."""
    settings = [f"-DCMAKE_PREFIX_PATH={PREFIX}", f"-DCMAKE_C_COMPILER={SETTINGS['c_compiler']}",
                f"-DCMAKE_CXX_COMPILER={SETTINGS['cxx_compiler']}", "-DCMAKE_BUILD_TYPE=Release"]
    if SETTINGS["launcher"] and not SETTINGS["launcher"].endswith("NOTFOUND"):
        settings.append(f"-DCMAKE_CXX_COMPILER_LAUNCHER={SETTINGS['launcher']}")
    run(SETTINGS["cmake"], "-S", source, "-B", folder, "-G", SETTINGS["generator"], *settings)
    run(SETTINGS["cmake"], "--build", folder)


def tool(name, *arguments, check=True):
    return run(PREFIX / "bin" / name, *arguments, check=check)


def setUpModule():
    for folder in ("prefix", "moved", "pass-plugin", "c-consumer"):
        shutil.rmtree(SCRATCH / folder, ignore_errors=True)
    run(SETTINGS["cmake"], "--install", SETTINGS["build"], "--prefix", SCRATCH / "prefix")
    PREFIX.parent.mkdir()
    shutil.move(SCRATCH / "prefix", PREFIX)
    build(ROOT / "docs" / "examples" / "pass-plugin", PLUGIN.parent)


class InstalledTree(unittest.TestCase):
    def test_has_commands_libraries_headers_and_package(self):
        for path in ("bin/nemotron-run", "include/nemotron.h", "include/nemotron/passes/Passes.h",
                     "include/nemotron/passes/Passes.h.inc", "include/nemotron/dialects/Nemotron/IR/NemotronOps.td",
                     f"{SETTINGS['libdir']}/libNemotronPasses.so",
                     f"{SETTINGS['libdir']}/cmake/Nemotron/NemotronConfig.cmake"):
            self.assertTrue((PREFIX / path).exists(), path)

    def test_commands_use_the_libraries_beside_them(self):
        for command in ("nemotron-opt", "nemotron-compile"):
            lines = run("ldd", PREFIX / "bin" / command).stdout.splitlines()
            libraries = [line for line in lines if "libNemotron" in line]
            self.assertTrue(libraries)
            for line in libraries:
                self.assertIn(str(PREFIX), os.path.realpath(line.split("=>")[1].split()[0]), line)

    def test_c_application(self):
        build(HERE / "c-consumer", SCRATCH / "c-consumer")
        self.assertGreater(int(run(SCRATCH / "c-consumer" / "c-consumer").stdout), 0)

    def test_other_versions_are_refused(self):
        folder = SCRATCH / "c-consumer" / "version"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.20)\nproject(v LANGUAGES NONE)\n"
                                               "find_package(Nemotron 99.0 REQUIRED COMPONENTS Runtime)\n")
        done = run(SETTINGS["cmake"], "-S", folder, "-B", folder / "build", "-G", SETTINGS["generator"],
                   f"-DCMAKE_PREFIX_PATH={PREFIX}", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"version: {SETTINGS['version']}", done.stderr)


class PluginInOpt(unittest.TestCase):
    def opt(self, passes, check=True):
        return tool("nemotron-opt", HERE / "Inputs" / "layers.mlir", f"--load-pass-plugin={PLUGIN}",
                    f"--pass-pipeline=builtin.module({passes})", check=check)

    def test_counts_ops(self):
        report = self.opt("func.func(example-count-ops)").stderr
        # Head: 2 * 32 * 8 = 512 flops. Layer 0: 2 * 8 * 4 = 64. Layer 1: 2 * 2 * 16 * 8 = 1024, 2 * 16 * 8 * 2 bytes.
        self.assertIn("outside of layers: 3 ops, 0.001 MFLOP a token, 0.001 MB of weights", report)
        self.assertIn("layer 0: 2 ops, 0.000 MFLOP a token, 0.000 MB of weights", report)
        self.assertIn("layer 1: 4 ops, 0.001 MFLOP a token, 0.001 MB of weights", report)

    def test_drops_a_layer_with_its_state_and_weights(self):
        ir = self.opt(f"{DROP % 0},nemotron-drop-dead").stdout
        self.assertNotIn("layers.0", ir)
        self.assertNotIn("causal_conv1d", ir)
        self.assertIn("nemotron.weight @layers.1.up_proj", ir)
        self.assertEqual(ir.count("nemotron.add"), 1)

    def test_a_layer_that_does_not_exist(self):
        done = self.opt(DROP % 7, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("layer 7 has 0 adds to the residual stream, expected 1", done.stderr)


class PluginInCompile(unittest.TestCase):
    def compile(self, name, *arguments, check=True):
        plan = SCRATCH / name
        plan.unlink(missing_ok=True)
        return plan, tool("nemotron-compile", TINY, "-o", plan, "--load-pass-plugin", PLUGIN, *arguments, check=check)

    def test_counts_ops_before_and_after_fusion(self):
        _, done = self.compile("counted.plan", "--insert-pass", "before-fusion:func.func(example-count-ops)",
                               "--insert-pass", "after-fusion:func.func(example-count-ops)")
        layers = [line.split("remark: ")[1] for line in done.stderr.splitlines() if "remark: layer 0:" in line]
        self.assertEqual(len(layers), 2)
        before, after = (int(line.split(":")[1].split("ops")[0]) for line in layers)
        self.assertLess(after, before)

    def test_a_plan_without_two_layers_runs(self):
        whole, _ = self.compile("whole.plan")
        pruned, _ = self.compile("pruned.plan", "--insert-pass", f"before-fusion:{DROP % '0,1'}")
        self.assertLess(pruned.stat().st_size, whole.stat().st_size)
        texts = [tool("nemotron-run", plan, "--prompt", "In the beginning", "-n", "16", "--temperature", "0").stdout
                 for plan in (whole, pruned)]
        self.assertTrue(all(texts))
        self.assertNotEqual(*texts)

    def test_what_cannot_be_loaded(self):
        plan, done = self.compile("missing.plan", "--load-pass-plugin", SCRATCH / "missing.so", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("missing.so", done.stderr)
        self.assertFalse(plan.exists())

    def test_errors_of_a_plugin_end_the_compilation(self):
        plan, done = self.compile("failed.plan", "--insert-pass", f"before-fusion:{DROP % 99}", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("layer 99 has 0 adds to the residual stream", done.stderr)
        self.assertFalse(plan.exists())


if __name__ == "__main__":
    unittest.main()
