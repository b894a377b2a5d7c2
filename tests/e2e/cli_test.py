"""The commands as a person or a script uses them: output, exit codes, bad input, interruption."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

from support import BIN, DATA, TINY, Case, main, run


class Run(Case):
    def setUp(self):
        super().setUp()
        self.tiny = self.plan("nemotron-h-tiny-f32")

    def fails(self, code, *args, tool="nemotron-run", **options):
        done = run(tool, *args, check=False, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn("error", done.stderr)
        return done.stderr

    def test_generates_text(self):
        done = run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 24, "--temperature", 0)
        self.assertIn(", when the king's commandment was come, that the king said unto him", done.stdout)
        self.assertIn("tokens/s", done.stderr)
        self.assertNotIn("\x1b", done.stdout + done.stderr, "colours or progress without a terminal")

    def test_json(self):
        done = run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 8, "--temperature", 0, "--json",
                   "--logprobs", 3)
        result = json.loads(done.stdout)
        self.assertEqual(len(result["token_ids"]), 8)
        self.assertTrue(result["text"].startswith(", when"))
        self.assertEqual(result["finish_reason"], "length")
        self.assertGreater(result["timings"]["prefill_ms"], 0)

    def test_seed_decides(self):
        texts = [run("nemotron-run", self.tiny, "--prompt", "In the", "-n", 16, "--temperature", 0.9, "--seed", seed).stdout
                 for seed in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_stop_string(self):
        done = run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 40, "--temperature", 0, "--stop",
                   "commandment", "--json")
        result = json.loads(done.stdout)
        self.assertEqual(result["text"], ", when the king's ")
        self.assertEqual(result["finish_reason"], "stop")

    def test_one_bos_only(self):
        plain = run("nemotron-run", self.tiny, "--prompt", "And it", "-n", 4, "--temperature", 0, "--json")
        rendered = run("nemotron-run", self.tiny, "--prompt", "<s>And it", "-n", 4, "--temperature", 0, "--json")
        self.assertEqual(json.loads(plain.stdout)["token_ids"], json.loads(rendered.stdout)["token_ids"])
        self.assertEqual(json.loads(plain.stdout)["prompt_token_ids"], json.loads(rendered.stdout)["prompt_token_ids"])

    def test_session_continues(self):
        session = self.tmp / "a.session"
        whole = run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 20, "--temperature", 0, "--json")
        run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 0, "--save-session", session)
        rest = run("nemotron-run", self.tiny, "--load-session", session, "--prompt-ids",
                   self.write("ids.json", json.dumps(json.loads(whole.stdout)["token_ids"][:5])), "-n", 15, "--temperature", 0,
                   "--json")
        self.assertEqual(json.loads(rest.stdout)["token_ids"], json.loads(whole.stdout)["token_ids"][5:])

    def test_interactive_reads_turns(self):
        done = run("nemotron-run", self.tiny, "--interactive", "-n", 4, "--temperature", 0,
                   input="And it came to pass\nAnd the\n")
        self.assertIn(", when", done.stdout)

    def test_interrupt_is_clean(self):
        process = subprocess.Popen([BIN / "nemotron-run", self.tiny, "--prompt", "And", "-n", "3000", "--ignore-eos"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn("tokens/s", err)

    def test_bad_plans(self):
        self.assertIn("nosuch.plan", self.fails(3, self.tmp / "nosuch.plan", "--prompt", "x"))
        data = self.tiny.read_bytes()
        for name, damaged in {"empty": b"", "short": data[:100], "cut": data[:-1], "text": b"hello" * 2000,
                              "flipped": data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:],
                              }.items():
            path = self.tmp / f"{name}.plan"
            path.write_bytes(damaged)
            self.assertIn(f"{name}.plan", self.fails(3, path, "--prompt", "x"))

    def test_threads(self):
        args = [self.tiny, "--prompt", "And it came to pass", "-n", 8, "--temperature", 0]
        text = run("nemotron-run", *args).stdout
        for flags in (["--pin"], ["--pin", "-t", 3], ["-t", 9]):
            with self.subTest(flags):
                self.assertEqual(run("nemotron-run", *args, *flags).stdout, text)
        run("nemotron-bench", self.tiny, "-p", 8, "-n", 0, "-r", 1, "--no-peak", "--pin")
        # Address space for the stacks of some, and no more.
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        self.assertIn("the system starts no 4000 threads", self.fails(4, *args, "-t", 4000, preexec_fn=limit))

    def test_bad_flags(self):
        for args in (["--nosuch"], ["--temperature", "-1"], ["--top-p", "2"], ["--threads", "x"], ["-n", "-5"],
                     ["--device", "tpu"], ["--repetition-penalty", "0"]):
            with self.subTest(args):
                done = run("nemotron-run", self.tiny, "--prompt", "x", *args, check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(args[0].lstrip("-").split("-")[0], done.stderr)

    def test_bad_prompts(self):
        self.assertIn("4095", self.fails(3, self.tiny, "--prompt-ids", self.write("ids.json", "[5000]"), "-n", 1))
        self.fails(3, self.tiny, "--prompt-ids", self.write("ids.json", "[1, \"a\"]"), "-n", 1)
        self.fails(3, self.tiny, "--prompt-ids", self.write("ids.json", "[1"), "-n", 1)
        self.fails(3, self.tiny, "--prompt-file", self.tmp / "nosuch.txt", "-n", 1)

    def test_out_of_context_is_a_status(self):
        err = self.fails(4, self.tiny, "--prompt", "And it came to pass that " * 60, "-n", 4, "--context", 64)
        self.assertIn("--context", err)

    def test_memory_limit_refuses(self):
        self.assertIn("--memory-limit", self.fails(4, self.tiny, "--prompt", "x", "--memory-limit", "1M"))

    def test_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        out = self.tmp / "logits.safetensors"
        self.assertIn("logits.safetensors", self.fails(4, self.tiny, "--prompt", "And it", "-n", 0, "--logits-out", out,
                                                       preexec_fn=limit))
        self.assertEqual(list(self.tmp.iterdir()), [])
        self.fails(1, TINY, "-o", self.tmp / "x.plan", tool="nemotron-compile", preexec_fn=limit)
        self.assertEqual(list(self.tmp.iterdir()), [])

    def test_profile_tells_where_the_time_goes(self):
        trace = self.tmp / "trace.json"
        done = run("nemotron-run", self.tiny, "--prompt", "And it came to pass", "-n", 8, "--temperature", 0, "--profile",
                   "--trace", trace)
        self.assertTrue(done.stdout.startswith(", when"))
        self.assertNotIn("cpu.", done.stdout)
        for text in ("prefill: 6 tokens in 1 step,", "decode: 7 tokens in 7 steps,", "reads", "cpu.ssm_scan_gated_norm f32",
                     "between dispatches"):
            self.assertIn(text, done.stderr)
        events = json.loads(trace.read_text())["traceEvents"]
        steps = [event for event in events if event["name"] in ("prefill", "decode")]
        self.assertEqual([step["name"] for step in steps], ["prefill"] + 7 * ["decode"])
        dispatches = len(events) // 8 - 1
        self.assertEqual(len(events), 8 * (dispatches + 1))
        for event in events:
            self.assertEqual(event["ph"], "X")
            self.assertGreaterEqual(event["dur"], 0)
        self.assertEqual(list(self.tmp.iterdir()), [trace])

    def test_profile_as_json(self):
        args = [self.tiny, "--prompt", "And it came to pass", "-n", 8, "--temperature", 0, "--json"]
        plain = json.loads(run("nemotron-run", *args).stdout)
        self.assertNotIn("profile", plain)
        # Two steps of a prompt are one prefill; the step that only fills a saved session is not part of the profile.
        done = run("nemotron-run", *args, "--profile", "--prefill-chunk", 4, "--save-session", self.tmp / "a.session")
        result = json.loads(done.stdout)
        self.assertEqual(result["token_ids"], plain["token_ids"])
        profile = result["profile"]
        self.assertEqual((profile["prefill"]["steps"], profile["prefill"]["tokens"]), (2, 6))
        self.assertEqual((profile["decode"]["steps"], profile["decode"]["tokens"]), (7, 7))
        self.assertGreater(profile["peak"]["f32_flops_per_second"], 0)
        for name, phase in (("prefill", profile["prefill"]), ("decode", profile["decode"])):
            self.assertAlmostEqual(phase["seconds"] * 1e3, result["timings"][f"{name}_ms"])
            inside = sum(kernel["seconds"] for kernel in phase["kernels"])
            self.assertAlmostEqual(inside + phase["between_seconds"], phase["seconds"])
            kernels = {kernel["kernel"]: kernel for kernel in phase["kernels"]}
            self.assertEqual(kernels["cpu.linear"]["calls"] % phase["steps"], 0)
            self.assertGreater(kernels["cpu.linear"]["share_of_dot_peak"], 0)
            self.assertGreater(kernels["cpu.ssm_scan_gated_norm"]["state_bytes"], 0)
            self.assertGreater(kernels["cpu.attention"]["kv_bytes"], 0)

    def test_profile_that_cannot_be(self):
        prompt = [self.tiny, "--prompt", "And", "-n", 2]
        self.assertIn("--trace goes with --profile only", self.fails(2, *prompt, "--trace", self.tmp / "t.json"))
        for mode in (["--interactive"], ["--memory"], ["--perplexity", "x.txt"], ["--tokenize", "x.txt"]):
            self.assertIn("--profile does not go with", self.fails(2, self.tiny, *mode, "--profile"))
        err = self.fails(3, *prompt, "--profile", "--trace", self.tmp / "nosuch" / "t.json")
        self.assertRegex(err, "cannot create .*nosuch/t.json")

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        self.assertIn("t.json", self.fails(4, *prompt, "--profile", "--trace", self.tmp / "t.json", preexec_fn=limit))
        self.assertEqual(list(self.tmp.iterdir()), [])

    def test_help_suffices(self):
        for tool in ("nemotron-run", "nemotron-compile", "nemotron-inspect", "nemotron-bench"):
            text = run(tool, "--help").stdout
            self.assertIn("xample", text, tool)
            self.assertIn("nemotron-", text)

    def test_links_neither_mlir_nor_llvm(self):
        for tool in ("nemotron-run", "nemotron-inspect", "nemotron-bench"):
            libraries = subprocess.run(["ldd", BIN / tool], capture_output=True, text=True, check=True).stdout
            self.assertNotRegex(libraries, "(?i)mlir|llvm|nemotronir")
            symbols = subprocess.run(["nm", "-C", BIN / tool], capture_output=True, text=True, check=True).stdout
            self.assertNotIn("mlir::", symbols)


class Compile(Case):
    def fails(self, *args, code=1):
        done = run("nemotron-compile", *args, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn("error", done.stderr)
        return done.stderr

    def checkpoint(self, change=None):
        """A copy of a golden checkpoint, its config changed by `change`."""
        folder = self.tmp / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(DATA / "goldens" / "nemotron-h-dense", folder)
        config = json.loads((folder / "config.json").read_text())
        if change:
            change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def test_same_input_same_bytes(self):
        for name in ("a.plan", "b.plan"):
            run("nemotron-compile", TINY, "-o", self.tmp / name)
        self.assertEqual((self.tmp / "a.plan").read_bytes(), (self.tmp / "b.plan").read_bytes())

    def test_config_that_changes_the_result_is_an_error(self):
        for key, value in {"sliding_window": 128, "mlp_hidden_act": "gelu", "model_type": "llama", "hidden_size": 127,
                           "ssm_state_size": 31, "layers_block_type": ["mamba", "dragon"]}.items():
            with self.subTest(key):
                err = self.fails(self.checkpoint(lambda config: config.update({key: value})), "-o", self.tmp / "x.plan")
                if key not in ("hidden_size", "ssm_state_size"):
                    self.assertIn(key, err)
                self.assertFalse((self.tmp / "x.plan").exists())

    def test_misshapen_tensor_is_named_with_both_shapes(self):
        err = self.fails(self.checkpoint(lambda config: config.update(ssm_state_size=16)), "-o", self.tmp / "x.plan")
        self.assertRegex(err, r"backbone\.layers\.0\.mixer\.in_proj\.weight.* is 648x128.*584x128")

    def test_missing_things(self):
        self.fails(self.tmp / "nosuch", "-o", self.tmp / "x.plan")
        folder = self.checkpoint()
        (folder / "model.safetensors").unlink()
        self.assertIn("safetensors", self.fails(folder, "-o", self.tmp / "x.plan"))
        self.fails("-o", self.tmp / "x.plan", code=2)
        self.assertIn("recipe", self.fails(TINY, "-o", self.tmp / "x.plan", "--quantize", "fp9"))
        self.fails(TINY, "-o", self.tmp / "nosuch" / "x.plan")

    def test_truncated_checkpoint(self):
        folder = self.checkpoint()
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[:-100])
        self.assertIn("model.safetensors", self.fails(folder, "-o", self.tmp / "x.plan"))

    def test_killed_leaves_nothing(self):
        config = self.write("config.json", (DATA.parent / "bench" / "configs" / "h05.json").read_text())
        folder = self.tmp / "out"
        folder.mkdir()
        process = subprocess.Popen([BIN / "nemotron-compile", "--random-weights", config, "-o", folder / "x.plan"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        while not list(folder.iterdir()) and process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(list(folder.iterdir()), [])

    def test_print_pipeline_can_be_given_back(self):
        pipeline = run("nemotron-compile", TINY, "--print-pipeline").stdout.strip()
        for name in ("nemotron-fuse-add-rms-norm", "nemotron-fuse-qkv", "nemotron-fuse-scan-norm", "plan-memory"):
            self.assertIn(name, pipeline)
        run("nemotron-compile", TINY, "-o", self.tmp / "a.plan")
        run("nemotron-compile", TINY, "-o", self.tmp / "b.plan", f"--pass-pipeline={pipeline}")
        self.assertIn("prompt", run("nemotron-run", self.tmp / "b.plan", "--help").stdout)

    def test_unfused_pipeline_gives_the_same_tokens(self):
        unfused = "builtin.module(convert-nemotron-to-plan{target=cpu},plan-memory,verify-plan)"
        run("nemotron-compile", TINY, "-o", self.tmp / "a.plan", "--dtype", "f32")
        run("nemotron-compile", TINY, "-o", self.tmp / "b.plan", "--dtype", "f32", f"--pass-pipeline={unfused}")
        tokens = [json.loads(run("nemotron-run", self.tmp / name, "--prompt", "And it came to pass", "-n", 20,
                                 "--temperature", 0, "--json").stdout)["token_ids"] for name in ("a.plan", "b.plan")]
        self.assertEqual(tokens[0], tokens[1])

    def test_inspect(self):
        run("nemotron-compile", TINY, "-o", self.tmp / "a.plan")
        text = run("nemotron-inspect", self.tmp / "a.plan", "--program", "--weights").stdout
        for word in ("NemotronHForCausalLM", "cpu.ssm_scan_gated_norm", "layers.0.in_proj", "without reuse", "xxh3:"):
            self.assertIn(word, text)
        run("nemotron-inspect", self.tmp / "a.plan", "--verify")
        json.loads(run("nemotron-inspect", self.tmp / "a.plan", "--json").stdout)
        data = bytearray((self.tmp / "a.plan").read_bytes())
        data[5000] ^= 1
        (self.tmp / "a.plan").write_bytes(data)
        done = run("nemotron-inspect", self.tmp / "a.plan", "--verify", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("checksum", done.stderr)

    def test_bench_runs(self):
        done = run("nemotron-bench", self.plan("nemotron-h-tiny-bf16"), "-p", 16, "-n", 4, "-r", 2, "--json")
        names = [result["test"] for result in json.loads(done.stdout)["results"]]
        self.assertEqual(names, ["pp16", "tg4"])

    def test_bench_profiles(self):
        args = [self.plan("nemotron-h-tiny-bf16"), "-p", 16, "-n", 4, "-r", 2]
        report = json.loads(run("nemotron-bench", *args, "--json").stdout)
        for result in report["results"]:
            self.assertNotIn("profile", result)
            self.assertGreater(result["peak"]["read_bytes_per_second"], 0)
            self.assertLessEqual(result["peak"]["f32_flops_per_second"], report["f32_flops_per_second"])
        prompt, generation = json.loads(run("nemotron-bench", *args, "--json", "--profile").stdout)["results"]
        self.assertEqual((prompt["profile"]["steps"], generation["profile"]["steps"]), (1, 4))
        for result in (prompt, generation):
            profile = result["profile"]
            inside = sum(kernel["seconds"] for kernel in profile["kernels"])
            self.assertAlmostEqual(inside + profile["between_seconds"], profile["seconds"])
            self.assertIn(profile["seconds"], result["seconds"])
            linear = next(kernel for kernel in profile["kernels"] if kernel["kernel"] == "cpu.linear")
            self.assertEqual(linear["products"], "bf16")
            self.assertGreater(linear["flops"], 0)
        text = run("nemotron-bench", *args, "--profile", "--no-peak").stdout
        self.assertIn("pp16: 16 tokens in 1 step,", text)
        self.assertIn("tg4: 4 tokens in 4 steps,", text)
        self.assertIn("cpu.linear bf16", text)


if __name__ == "__main__":
    main()
