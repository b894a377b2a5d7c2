"""Goldens computed with Hugging Face in float32: logits, greedy tokens, perplexity."""
import json
import math

from support import DATA, TINY, Case, log_softmax, main, read_safetensors, run

GOLDENS = ["nemotron-h-dense", "nemotron-h-moe", "nemotron-h-bias-tied", "nemotron-4", "nemotron-4-mha"]


class Golden(Case):
    def logits(self, plan, ids):
        out = self.tmp / "logits.safetensors"
        run("nemotron-run", plan, "--prompt-ids", self.write("ids.json", json.dumps(ids)), "-n", 0, "--logits-out", out)
        return read_safetensors(out)["logits"]

    def greedy(self, plan, ids, count):
        done = run("nemotron-run", plan, "--prompt-ids", self.write("ids.json", json.dumps(ids)), "-n", count,
                   "--temperature", 0, "--ignore-eos", "--json")
        return json.loads(done.stdout)["token_ids"]

    def check_f32(self, name, folder, tolerance):
        golden = read_safetensors(folder / "golden.safetensors")
        ids = list(golden["input_ids"][1])
        shape, logits = self.logits(self.plan(f"{name}-f32"), ids)
        self.assertEqual(shape, golden["logits"][0])
        worst = max(abs(a - b) for a, b in zip(logits, golden["logits"][1]))
        print(f"{name} f32: largest difference of logits {worst:.2e}")
        self.assertLess(worst, tolerance)
        prompt = list(golden["greedy_prompt_ids"][1]) if "greedy_prompt_ids" in golden else ids
        expected = list(golden["greedy_ids"][1])
        self.assertEqual(self.greedy(self.plan(f"{name}-f32"), prompt, len(expected)), expected)

    def check_bf16(self, name, folder):
        golden = read_safetensors(folder / "golden.safetensors")
        shape, logits = self.logits(self.plan(f"{name}-bf16"), list(golden["input_ids"][1]))
        rows, width = shape
        divergence, agree = 0.0, 0
        for t in range(rows):
            ours = logits[t * width:(t + 1) * width]
            theirs = golden["logits"][1][t * width:(t + 1) * width]
            p, q = log_softmax(theirs), log_softmax(ours)
            divergence += math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
            agree += ours.index(max(ours)) == theirs.index(max(theirs))
        print(f"{name} bf16: mean KL {divergence / rows:.2e}, top-1 agreement {agree / rows:.2%} of {rows}")
        self.assertLess(divergence / rows, 1e-3)
        return rows, agree

    def test_f32_logits_and_greedy_tokens(self):
        for name in GOLDENS:
            with self.subTest(name):
                # The logits of nemotron-4-mha have a standard deviation of 10, those of the others of about 1.
                self.check_f32(name, DATA / "goldens" / name, 1e-3 if name == "nemotron-4-mha" else 1e-4)

    def test_every_instruction_set(self):
        for isa in ("portable", "avx2", "avx512", "avx512vnni", "avx512bf16"):
            for name in ("nemotron-h-moe", "nemotron-4"):
                golden = read_safetensors(DATA / "goldens" / name / "golden.safetensors")
                out = self.tmp / "logits.safetensors"
                for dtype, tolerance in (("f32", 1e-4), ("bf16", 0.1)):
                    done = run("nemotron-run", self.plan(f"{name}-{dtype}"), "--prompt-ids",
                               self.write("ids.json", json.dumps(list(golden["input_ids"][1]))), "-n", 0, "--logits-out", out,
                               "--cpu-isa", isa, check=False)
                    if done.returncode != 0:
                        self.assertIn("this machine has no", done.stderr)
                        continue
                    worst = max(abs(a - b) for a, b in zip(read_safetensors(out)["logits"][1], golden["logits"][1]))
                    print(f"{name} {dtype} {isa}: largest difference of logits {worst:.2e}")
                    self.assertLess(worst, tolerance)

    def test_f32_tiny(self):
        self.check_f32("nemotron-h-tiny", TINY, 1e-4)

    def test_bf16(self):
        # Agreement is counted over all goldens: in random models the two best logits of a position may be closer than
        # BF16 resolves, and one such position in 40 would be 2.5 %.
        total = matches = 0
        for name in [*GOLDENS, "nemotron-h-tiny"]:
            with self.subTest(name):
                rows, agree = self.check_bf16(name, TINY if name == "nemotron-h-tiny" else DATA / "goldens" / name)
                total, matches = total + rows, matches + agree
        print(f"bf16: top-1 agreement {matches / total:.2%} of {total}")
        self.assertGreater(matches / total, 0.98)

    def test_perplexity_of_the_tiny_model(self):
        reference_nll = 3.280899  # nats per token, README.md of the model
        for dtype in ("f32", "bf16"):
            done = run("nemotron-run", self.plan(f"nemotron-h-tiny-{dtype}"), "--perplexity", TINY / "heldout.txt",
                       "--window", 512, "--json")
            result = json.loads(done.stdout)
            print(f"tiny {dtype}: perplexity {result['perplexity']:.4f}")
            self.assertEqual(result["predictions"], 22156)
            self.assertLess(abs(result["perplexity"] / math.exp(reference_nll) - 1), 0.005)

    def test_tokenize(self):
        with open(DATA / "goldens" / "tokenizers" / "byte-level-bpe.golden.json") as file:
            goldens = json.load(file)
        lines = self.write("lines.jsonl", "".join(json.dumps(golden["text"]) + "\n" for golden in goldens))
        done = run("nemotron-run", self.plan("nemotron-h-tiny-f32"), "--tokenize", lines)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], [golden["ids"] for golden in goldens])


if __name__ == "__main__":
    main()
