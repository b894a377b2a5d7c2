"""Each fusion alone, and all in reverse, against a plan without any: kernels change, logits do not."""
import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from support import DATA, Case, main, read_safetensors, run  # noqa: E402

FUSIONS = ["fuse-conv-activation", "fuse-linear-activation", "fuse-scan-norm", "fuse-qkv", "fuse-add-rms-norm",
           "fuse-add-layer-norm"]
HYBRID = {"fuse-conv-activation", "fuse-linear-activation", "fuse-scan-norm", "fuse-qkv", "fuse-add-rms-norm"}
DENSE = {"fuse-linear-activation", "fuse-qkv", "fuse-add-layer-norm"}
# What has something to fuse: all but the experts, whose activation is in their kernel.
MODELS = {"nemotron-h-dense": HYBRID, "nemotron-h-moe": HYBRID, "nemotron-h-bias-tied": HYBRID, "nemotron-4": DENSE,
          "nemotron-4-mha": DENSE}


class KeepNumbers(Case):
    def compile(self, model, passes):
        """Returns the plan and the kernels of its program."""
        plan = self.tmp / "model.plan"
        pipeline = "".join(f"nemotron-{name}," for name in passes)
        run("nemotron-compile", DATA / "goldens" / model, "-o", plan, "--dtype", "f32", "--quiet", "--pass-pipeline",
            f"builtin.module(func.func({pipeline}cse),convert-nemotron-to-plan,plan-memory,verify-plan)")
        program = run("nemotron-inspect", plan, "--program").stdout
        return plan, [word for line in program.splitlines() for word in line.split() if word.startswith("cpu.")]

    def logits(self, plan, ids):
        out = self.tmp / "logits.safetensors"
        run("nemotron-run", plan, "--prompt-ids", self.write("ids.json", json.dumps(ids)), "-n", 0, "--logits-out", out)
        return read_safetensors(out)["logits"][1]

    def test_logits(self):
        for model, expected in MODELS.items():
            ids = list(read_safetensors(DATA / "goldens" / model / "golden.safetensors")["input_ids"][1])
            plan, unfused = self.compile(model, [])
            reference = self.logits(plan, ids)
            scale = max(map(abs, reference))
            for passes in [*([name] for name in FUSIONS), FUSIONS[::-1]]:
                with self.subTest(model=model, passes=passes):
                    plan, kernels = self.compile(model, passes)
                    self.assertEqual(kernels != unfused, bool(expected & set(passes)))
                    worst = max(abs(a - b) for a, b in zip(self.logits(plan, ids), reference))
                    # Sums of one dispatch may be taken in another order; each result is that of f32 rounding.
                    self.assertLess(worst, 1e-5 * scale)


if __name__ == "__main__":
    main()
