"""nemotron-run --compare: its figures against their definitions, plans fused in different ways, and what it refuses."""
import json
import math
import re
import shutil

from support import DATA, TINY, Case, log_softmax, main, read_safetensors, run

TEXT = "And it came to pass, when the king heard the words of the people, that he rent his clothes.\n"


class Compare(Case):
    def setUp(self):
        super().setUp()
        self.f32, self.bf16 = self.plan("nemotron-h-tiny-f32"), self.plan("nemotron-h-tiny-bf16")
        self.text = self.write("text.txt", TEXT)

    def compare(self, a, b, *args):
        return json.loads(run("nemotron-run", "--compare", a, b, "--json", *args).stdout)

    def fails(self, code, *args):
        done = run("nemotron-run", *args, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_figures_are_what_they_say(self):
        found = self.compare(self.f32, self.bf16, "--text", self.text)
        line = self.write("line.json", json.dumps(TEXT))
        ids = json.loads(run("nemotron-run", self.f32, "--tokenize", line).stdout)
        rows = []
        for plan in (self.f32, self.bf16):
            run("nemotron-run", plan, "--prompt-ids", self.write("ids.json", json.dumps(ids)), "-n", 0, "--logits-out",
                self.tmp / "logits.safetensors")
            (_, vocabulary), values = read_safetensors(self.tmp / "logits.safetensors")["logits"]
            rows.append([log_softmax(values[i * vocabulary:(i + 1) * vocabulary]) for i in range(len(ids) - 1)])
        kl = [math.fsum(math.exp(p) * (p - q) for p, q in zip(a, b)) for a, b in zip(*rows)]
        self.assertEqual(found["tokens"], len(ids))
        self.assertEqual(found["positions"], len(kl))
        self.assertEqual(found["window"], 512)
        divergence = found["kl_divergence"]
        self.assertAlmostEqual(divergence["mean"] / (math.fsum(kl) / len(kl)), 1, places=6)
        self.assertAlmostEqual(divergence["max"] / max(kl), 1, places=6)
        self.assertEqual(divergence["max_token"], kl.index(max(kl)) + 1)
        self.assertAlmostEqual(divergence["p99"] / sorted(kl)[math.ceil(len(kl) * 0.99) - 1], 1, places=6)
        agreed = sum(a.index(max(a)) == b.index(max(b)) for a, b in zip(*rows))
        self.assertAlmostEqual(found["top1_agreement"], agreed / len(kl))
        nll = [-math.fsum(row[token] for row, token in zip(each, ids[1:])) / len(kl) for each in rows]
        self.assertAlmostEqual(found["perplexity"]["a"] / math.exp(nll[0]), 1, places=9)
        self.assertAlmostEqual(found["perplexity"]["b"] / math.exp(nll[1]), 1, places=9)
        self.assertAlmostEqual(found["perplexity"]["ratio_percent"], 100 * math.exp(nll[1] - nll[0]), places=7)
        self.assertNotIn("layers", found)

    def test_windows_are_those_of_perplexity(self):
        args = ("--window", 17, "--json")
        found = self.compare(self.f32, self.bf16, "--text", self.text, *args)
        for side, plan in (("a", self.f32), ("b", self.bf16)):
            alone = json.loads(run("nemotron-run", plan, "--perplexity", self.text, *args).stdout)
            self.assertEqual(found["perplexity"][side], alone["perplexity"])
        self.assertEqual(found["window"], 17)
        self.assertNotEqual(found["kl_divergence"], self.compare(self.f32, self.bf16, "--text", self.text)["kl_divergence"])

    def test_layers(self):
        layers = self.compare(self.f32, self.bf16, "--text", self.text, "--layers")["layers"]
        self.assertEqual([layer["behind"] for layer in layers], [""] + [f"layers.{i}.norm" for i in range(18)])
        self.assertEqual("".join(layer["kind"] for layer in layers), "M-M-M-M*-M-M-M*-M-")
        self.assertEqual([layer["layer"] for layer in layers], list(range(-1, 18)))
        self.assertEqual(layers[0]["relative_error"], 0, "the embedding of the tiny model is BF16")
        for layer in layers[1:]:
            self.assertGreater(layer["relative_error"], 1e-4, layer)
            self.assertLess(layer["relative_error"], 1e-2, layer)
            # Of a small error, no more than all of it can be along the stream.
            self.assertGreaterEqual(layer["cosine"], 1 - layer["relative_error"]**2 / 2 - 1e-9, layer)

    def test_layers_are_found_however_a_plan_is_fused(self):
        for golden in ("nemotron-h-moe", "nemotron-4"):
            pipeline = run("nemotron-compile", DATA / "goldens" / golden, "--print-pipeline").stdout
            unfused = re.sub(r"func\.func\(nemotron-fuse[^)]*\),?", "", pipeline).strip()
            self.assertNotEqual(unfused, pipeline.strip())
            run("nemotron-compile", DATA / "goldens" / golden, "--dtype", "f32", "--bf16-rope-frequencies",
                f"--pass-pipeline={unfused}", "-o", self.tmp / "unfused.plan", "--quiet")
            ids = self.write("ids.json", json.dumps([i * 7 % 500 for i in range(50)]))
            found = self.compare(self.plan(f"{golden}-f32"), self.tmp / "unfused.plan", "--prompt-ids", ids, "--layers")
            self.assertEqual(found["kl_divergence"]["max"], 0)
            self.assertGreater(len(found["layers"]), 6)
            for layer in found["layers"]:
                self.assertEqual((layer["relative_error"], layer["cosine"]), (0, 1), layer)

    def test_text_output(self):
        done = run("nemotron-run", "--compare", self.f32, self.bf16, "--text", self.text, "--layers")
        for part in ("predictions in windows of 512", "KL divergence    mean ", "top-1 agreement  ", "perplexity       ",
                     "\n       the embedding  ", "\n  7 *  layers.7.norm"):
            self.assertIn(part, done.stdout)
        self.assertEqual(done.stderr, "", "no progress without a terminal")

    def test_reads_stdin(self):
        found = run("nemotron-run", "--compare", self.f32, self.bf16, "--text", "-", "--json", input=TEXT).stdout
        self.assertEqual(json.loads(found), self.compare(self.f32, self.bf16, "--text", self.text))

    def test_refuses_plans_that_do_not_go_together(self):
        golden = self.plan("nemotron-h-dense-f32")
        err = self.fails(3, "--compare", self.f32, golden, "--text", self.text)
        self.assertRegex(err, "the plans have vocabularies of 4096 and [0-9]+ tokens, expected the same")
        self.assertIn(str(golden), err)

        checkpoint = self.tmp / "checkpoint"
        shutil.copytree(TINY, checkpoint)
        tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
        tokenizer["post_processor"] = None
        (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer))
        run("nemotron-compile", checkpoint, "--dtype", "bf16", "-o", self.tmp / "other.plan", "--quiet")
        err = self.fails(3, "--compare", self.f32, self.tmp / "other.plan", "--text", self.text)
        self.assertIn("the plans have different tokenizers", err)

    def test_refuses_layers_of_another_model(self):
        ids = self.write("ids.json", "[1, 2, 3]")
        dense, experts = self.plan("nemotron-h-dense-f32"), self.plan("nemotron-h-moe-f32")
        self.assertIn("the layers of the plans differ: norm ",
                      self.fails(3, "--compare", dense, experts, "--prompt-ids", ids, "--layers"))

    def test_refuses_texts(self):
        both = ("--compare", self.f32, self.bf16)
        self.assertRegex(self.fails(3, *both, "--text", self.write("empty.txt", "")),
                         "the text has [01] tokens, expected at least 2")
        self.assertIn("nosuch.txt", self.fails(3, *both, "--text", self.tmp / "nosuch.txt"))
        dense = self.plan("nemotron-h-dense-f32")
        self.assertIn("has no tokenizer", self.fails(3, "--compare", dense, dense, "--text", self.text))
        self.assertIn("nosuch.plan", self.fails(3, "--compare", self.f32, self.tmp / "nosuch.plan", "--text", self.text))

    def test_refuses_flags(self):
        both = ("--compare", self.f32, self.bf16)
        for args, message in (
            (both, "--compare needs a text: give one of --text and --prompt-ids"),
            ((*both, "--text", self.text, "--prompt-ids", self.text), "--compare needs a text: give one of"),
            ((self.f32, *both, "--text", self.text), "--compare names both plans"),
            ((*both, "--text", self.text, "--prompt", "x"), "a prompt does not go with"),
            ((*both, "--text", self.text, "--perplexity", self.text), "give one of --interactive, --tokenize, --perplexity, --compare"),
            ((self.f32, "--prompt", "x", "--text", self.text), "--text goes with --compare only"),
            ((self.f32, "--prompt", "x", "--layers"), "--layers goes with --compare only"),
            (("--compare", self.f32), "--compare"),
            (("--prompt", "x"), "PLAN is required"),
        ):
            with self.subTest(args):
                self.assertIn(message, self.fails(2, *args))


if __name__ == "__main__":
    main()
