"""Plans for GPUs on the simulator: the goldens, the trained model, FP8 and what a decode step moves. Any finding of the simulator's
checks (bounds, uninitialised reads, races, divergent barriers) fails the run it happens in."""
import json
import math
import os
from collections import Counter

from support import DATA, PLANS, TINY, Case, log_softmax, main, read_safetensors, run

GOLDENS = ["nemotron-h-dense", "nemotron-h-moe", "nemotron-h-bias-tied", "nemotron-4", "nemotron-4-mha"]
# The simulated GPU and the code that it takes from the plan.
GPUS = {"a100": "sm_80", "rtx4090": "sm_89", "h100": "sm_90a"}
NO_DRIVER = "/nonexistent/libcuda.so.1"
KERNEL_CACHE = os.environ["NEMOTRON_KERNEL_CACHE"]
PROMPT = "And it came to pass"
# Of a layer in decode, by its letter: `*` beyond 512 tokens, where attention merges segments.
MOST_LAUNCHES = {"M": 4, "-": 3, "*": 6, "E": 8}


class Cuda(Case):
    def run_on(self, gpu, *args):
        return run("nemotron-run", *args, env={**os.environ, "PTXSIM_DEVICE": gpu})

    def cuda_plan(self, name):
        return self.plan(f"cuda/{name}")

    def logits(self, gpu, plan, *prompt):
        out = self.tmp / "logits.safetensors"
        self.run_on(gpu, plan, *prompt, "-n", 0, "--logits-out", out)
        return read_safetensors(out)["logits"]

    def compare(self, expected, found):
        """Mean KL divergence and the number of positions whose best token agrees."""
        (rows, width), found = found
        divergence, agree = 0.0, 0
        for t in range(rows):
            p, q = (log_softmax(logits[t * width:(t + 1) * width]) for logits in (expected, found))
            divergence += math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
            agree += p.index(max(p)) == q.index(max(q))
        return divergence / rows, agree, rows

    def golden_ids(self, plan):
        """The tokens of the golden that a plan is named after, as a file."""
        golden = max((name for name in GOLDENS if plan.startswith(name)), key=len)
        tokens = read_safetensors(DATA / "goldens" / golden / "golden.safetensors")["input_ids"][1]
        return self.write("ids.json", json.dumps(list(tokens)))

    def greedy(self, gpu, plan, *prompt, count):
        done = self.run_on(gpu, plan, *prompt, "-n", count, "--temperature", 0, "--ignore-eos", "--json")
        return json.loads(done.stdout)["token_ids"]

    def test_goldens(self):
        for gpu in GPUS:
            total = matches = 0
            for name in GOLDENS:
                with self.subTest(f"{name} on {gpu}"):
                    golden = read_safetensors(DATA / "goldens" / name / "golden.safetensors")
                    divergence, agree, rows = self.compare(
                        golden["logits"][1], self.logits(gpu, self.cuda_plan(name), "--prompt-ids", self.golden_ids(name)))
                    print(f"{name} on {gpu}: mean KL {divergence:.2e}, top-1 agreement {agree} of {rows}")
                    self.assertLess(divergence, 1e-3)
                    total, matches = total + rows, matches + agree
            self.assertGreater(matches / total, 0.98)

    def test_tokens_of_the_trained_model(self):
        expected = self.greedy("h100", self.plan("nemotron-h-tiny-bf16"), "--prompt", PROMPT, count=16)
        for gpu in GPUS:
            with self.subTest(gpu):
                found = self.greedy(gpu, self.cuda_plan("nemotron-h-tiny"), "--prompt", PROMPT, count=16)
                self.assertEqual(found, expected)

    def sampled(self, gpu, plan, *args):
        done = self.run_on(gpu, plan, "--prompt", PROMPT, "-n", 8, "--seed", 7, "--ignore-eos", "--json", *args)
        return json.loads(done.stdout)

    def test_tokens_drawn_on_the_device(self):
        # Alternatives, and a penalty, keep the draw on the host, which gets the same logits.
        plan = self.cuda_plan("nemotron-h-tiny")
        for gpu, args in (("h100", ("--temperature", 0)), ("h100", ("--temperature", 1)),
                          ("a100", ("--temperature", 0.8, "--top-k", 20)),
                          ("rtx4090", ("--temperature", 1, "--top-p", 0.8)),
                          ("h100", ("--temperature", 1, "--min-p", 0.05)),
                          ("h100", ("--temperature", 1.5, "--top-k", 50, "--top-p", 0.9, "--min-p", 0.02))):
            with self.subTest(gpu, args=args):
                on_host = self.sampled(gpu, plan, *args, "--logprobs", 1)
                self.assertEqual(self.sampled(gpu, plan, *args)["token_ids"], on_host["token_ids"])

    def test_logits_stay_on_the_device(self):
        plan = self.cuda_plan("nemotron-h-tiny")
        for args, expected in (((), True), (("--logprobs", 1), False), (("--repetition-penalty", 1.1), False)):
            decode = self.sampled("h100", plan, "--profile", *args)["profile"]["decode"]
            self.assertEqual("sample" in [function["function"] for function in decode["counters"]], expected)

    def test_fp8(self):
        # E4M3 steps by 6 %: where sums in another order fall on the other side of a step, logits move by more than
        # rounding does. A plan for sm_89 alone multiplies codes, and tensor cores add up such products in some 14 bits;
        # others have them as F16 (docs/cuda.md).
        text = (TINY / "heldout.txt").read_text()[:400]
        names = ("nemotron-h", "fp8-all", "weight-only", "nemotron-h-kv", "ssm-bf16")
        cases = [(name, f"nemotron-h-tiny-{name}", gpu) for name in names for gpu in GPUS]
        for name, plan, gpu in cases + [("fp8-all", "fp8-only-sm_89", "rtx4090")]:
            with self.subTest(f"{plan} on {gpu}"):
                _, expected = self.logits(gpu, self.plan(f"nemotron-h-tiny-{name}"), "--prompt", text)
                divergence, agree, rows = self.compare(expected, self.logits(gpu, self.cuda_plan(plan), "--prompt", text))
                print(f"{plan} on {gpu}: mean KL to the CPU's {divergence:.2e}, top-1 agreement {agree} of {rows}")
                self.assertLess(divergence, 5e-3)
                self.assertGreater(agree / rows, 0.94)

    def test_experts_of_fp8(self):
        name = "nemotron-h-moe-fp8-all"
        ids = self.golden_ids(name)
        _, expected = self.logits("h100", self.plan(name), "--prompt-ids", ids)
        for gpu in GPUS:
            with self.subTest(gpu):
                divergence, agree, rows = self.compare(
                    expected, self.logits(gpu, self.cuda_plan(name), "--prompt-ids", ids))
                print(f"{name} on {gpu}: mean KL to the CPU's {divergence:.2e}, top-1 agreement {agree} of {rows}")
                self.assertLess(divergence, 5e-3)
                self.assertGreater(agree / rows, 0.94)

    def test_what_a_decode_step_moves(self):
        done = self.run_on("h100", self.cuda_plan("nemotron-h-tiny"), "--prompt", PROMPT, "-n", 4, "--temperature", 0,
                           "--profile", "--json")
        decode = json.loads(done.stdout)["profile"]["decode"]
        must = sum(kernel[what] for kernel in decode["kernels"] for what in ("weight_bytes", "state_bytes", "kv_bytes"))
        read = 32 * sum(function["distinct_load_sectors"] for function in decode["counters"])
        print(f"decode: reads {read / must:.3f} of the weights, states and keys and values")
        self.assertLess(read / must, 1.05)
        loads = sum(function["global_load_sectors"] for function in decode["counters"])
        for function in decode["counters"]:
            if function["global_load_sectors"] > 0.01 * loads:
                with self.subTest(function["function"]):
                    self.assertLess(function["global_load_sectors"], 1.1 * function["global_load_ideal_sectors"])
                    if function["shared_ideal_wavefronts"] > 0:
                        self.assertLess(function["shared_wavefronts"], 1.1 * function["shared_ideal_wavefronts"])

    def test_launches_of_a_layer_in_decode(self):
        for name in ("nemotron-h-tiny", "nemotron-h-tiny-fp8-all"):
            with self.subTest(name):
                self.check_launches_of_a_layer_in_decode(self.cuda_plan(name), "--prompt", PROMPT)
        for name in ("nemotron-h-moe", "nemotron-h-moe-fp8-all"):
            with self.subTest(name):
                self.check_launches_of_a_layer_in_decode(self.cuda_plan(name), "--prompt-ids", self.golden_ids(name))

    def check_launches_of_a_layer_in_decode(self, plan, *prompt):
        inspected = json.loads(run("nemotron-inspect", plan, "--kernels", "--json").stdout)
        done = self.run_on("h100", plan, *prompt, "-n", 4, "--temperature", 0, "--ignore-eos", "--profile", "--json")
        decode = json.loads(done.stdout)["profile"]["decode"]

        def op(kernel):
            return kernel.split(".")[1]

        ops = {launch["function"]: op(launch["kernel"]) for launch in inspected["kernels"]}
        launches, calls, of_layer = Counter(), Counter(), Counter()
        for function in decode["counters"]:
            launches[ops[function["function"]]] += function["launches"]
        for kernel in decode["kernels"]:
            calls[op(kernel["kernel"])] += kernel["calls"]
        for dispatch in inspected["program"]:
            of_layer[dispatch["layer"]] += launches[op(dispatch["kernel"])] / calls[op(dispatch["kernel"])]
        letters = inspected["model"]["layers_block_type"]
        of_layer[len(letters) - 1] -= 1  # the last norm, which has the sum of the last layer
        for layer, letter in enumerate(letters):
            with self.subTest(f"layer {layer}, {letter}"):
                self.assertGreater(of_layer[layer], 0)
                self.assertLessEqual(of_layer[layer], MOST_LAUNCHES[letter])

    def test_saved_sessions_go_on(self):
        for name in ("nemotron-h-tiny", "nemotron-h-tiny-nemotron-h-kv"):
            with self.subTest(name):
                plan, session = self.cuda_plan(name), self.tmp / "session"
                whole = self.greedy("h100", plan, "--prompt", PROMPT, count=4)
                self.run_on("h100", plan, "--prompt", PROMPT[:11], "-n", 0, "--save-session", session)
                rest = self.greedy("h100", plan, "--load-session", session, "--prompt", PROMPT[11:], count=4)
                self.assertEqual(rest, whole)

    def on_cpu(self, plan, *args):
        """Tokens, the bytes of all logits, and what a run on the CPU says."""
        out = self.tmp / "logits.safetensors"
        done = run("nemotron-run", plan, *args, "-n", 8, "--temperature", 0, "--ignore-eos", "--logits-out", out, "--json",
                   env={**os.environ, "NEMOTRON_LIBCUDA": NO_DRIVER})
        return json.loads(done.stdout)["token_ids"], out.read_bytes(), done.stderr

    def test_on_the_cpu(self):
        # The same program and the same weights as in a plan for the CPU, so the same bits.
        ids = self.write("ids.json", json.dumps(list(range(1, 41))))
        for on_gpu, on_cpu in (("nemotron-h-tiny", "nemotron-h-tiny-bf16"),
                               ("nemotron-h-tiny-fp8-all", "nemotron-h-tiny-fp8-all"),
                               ("nemotron-h-tiny-nemotron-h-kv", "nemotron-h-tiny-nemotron-h-kv"),
                               ("nemotron-h-tiny-weight-only", "nemotron-h-tiny-weight-only"),
                               ("nemotron-h-moe", "nemotron-h-moe-bf16"),
                               ("nemotron-h-bias-tied", "nemotron-h-bias-tied-bf16"), ("nemotron-4-mha", "nemotron-4-mha-bf16")):
            with self.subTest(on_gpu):
                tokens, logits, _ = self.on_cpu(self.plan(on_cpu), "--prompt-ids", ids)
                for device in ("cpu", "auto"):
                    found = self.on_cpu(self.cuda_plan(on_gpu), "--prompt-ids", ids, "--device", device)
                    self.assertEqual(found[0], tokens)
                    self.assertTrue(found[1] == logits, "logits differ")
                    self.assertEqual("no GPU, running on the CPU: there is no NVIDIA driver" in found[2], device == "auto")

    def test_on_the_cpu_though_there_is_a_gpu(self):
        done = self.run_on("h100", self.cuda_plan("nemotron-h-tiny"), "--prompt", PROMPT, "-n", 2, "--device", "cpu",
                           "--profile", "--json")
        decode = json.loads(done.stdout)["profile"]["decode"]
        self.assertEqual({kernel["kernel"].split(".")[0] for kernel in decode["kernels"]}, {"cpu"})
        # Sessions of a plan that was compiled for the CPU go on.
        session = self.tmp / "session"
        self.run_on("h100", self.plan("nemotron-h-tiny-bf16"), "--prompt", PROMPT, "-n", 0, "--save-session", session)
        self.run_on("h100", self.cuda_plan("nemotron-h-tiny"), "--load-session", session, "--prompt", " x", "-n", 1,
                    "--device", "cpu")

    def test_other_tools_on_the_cpu(self):
        plan, environment = self.cuda_plan("nemotron-h-tiny"), {**os.environ, "NEMOTRON_LIBCUDA": NO_DRIVER}
        text = self.write("text.txt", (TINY / "heldout.txt").read_text()[:200])
        done = run("nemotron-run", "--compare", self.plan("nemotron-h-tiny-bf16"), plan, "--text", text, "--layers", "--json",
                   env=environment)
        self.assertEqual(json.loads(done.stdout)["kl_divergence"]["max"], 0)
        memory = json.loads(run("nemotron-run", plan, "--memory", "--json", env=environment).stdout)
        self.assertFalse(memory["maps_weights"])
        self.assertIn("no GPU", memory["note"])
        self.assertTrue(json.loads(run("nemotron-inspect", plan, "--json").stdout)["runs_on_cpu"])
        self.assertRegex(run("nemotron-inspect", plan).stdout, r"on the CPU +\d+ dispatches")

    def test_without_a_gpu(self):
        environment = {**os.environ, "NEMOTRON_LIBCUDA": NO_DRIVER}
        done = run("nemotron-run", self.cuda_plan("nemotron-h-tiny"), "--prompt", PROMPT, "--device", "cuda", check=False,
                   env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no NVIDIA driver", done.stderr)
        # A plan for the CPU does not ask for one.
        done = run("nemotron-run", self.plan("nemotron-h-tiny-bf16"), "--prompt", PROMPT, "-n", 1, env=environment)
        self.assertNotIn("no GPU", done.stderr)

    def test_passes_of_the_user_make_no_program_for_the_cpu(self):
        plan, target = self.tmp / "m.plan", ("--target", "sm_90a", "--kernel-cache", KERNEL_CACHE)
        passes = run("nemotron-compile", TINY, *target, "--print-pipeline").stdout.strip()
        run("nemotron-compile", TINY, *target, "--pass-pipeline", passes, "-o", plan, "-q")
        for device, code, message in (
                ("cpu", 3, "the plan is for target cuda, which device 'cpu' does not run; compile it with --target cpu"),
                ("auto", 1, "compile the plan with --target cpu to run it on the CPU")):
            done = run("nemotron-run", plan, "--prompt", PROMPT, "--device", device, check=False,
                       env={**os.environ, "NEMOTRON_LIBCUDA": NO_DRIVER})
            self.assertEqual(done.returncode, code)
            self.assertIn(message, done.stderr)

    def test_wrong_devices(self):
        gpu, cpu = self.cuda_plan("nemotron-h-tiny"), self.plan("nemotron-h-tiny-bf16")
        for plan, device, code, message in (
                (cpu, "cuda", 3, "the plan is for target cpu, which device 'cuda' does not run"),
                (gpu, "cuda:7", 3, "there is no GPU 7, expected 0 to 0"),
                (gpu, "gpu", 2, "there is no device 'gpu'"), (gpu, "cuda:x", 2, "there is no device 'cuda:x'")):
            with self.subTest(device):
                done = run("nemotron-run", plan, "--prompt", PROMPT, "--device", device, check=False)
                self.assertEqual(done.returncode, code)
                self.assertIn(message, done.stderr)

    def test_no_code_for_the_gpu(self):
        done = run("nemotron-run", self.cuda_plan("only-sm_90a"), "--prompt", PROMPT, check=False,
                   env={**os.environ, "PTXSIM_DEVICE": "a100"})
        self.assertEqual(done.returncode, 3)
        self.assertIn("has compute capability 8.0, but the plan was compiled for sm_90a", done.stderr)


if __name__ == "__main__":
    main()
