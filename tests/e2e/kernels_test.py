"""What compilers made of our kernels, on every architecture: no spills, tensor cores in the products, and how much else
the main loop of a product computes."""
import json

from support import Case, main, run

ARCHITECTURES = ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120a"]
PLANS = {"bf16": ("cuda/nemotron-h-tiny-cuda-all", ARCHITECTURES),
         "fp8": ("cuda/nemotron-h-tiny-cuda-all-fp8", ARCHITECTURES),
         # Only these have mma.sync for codes; a plan for others decodes them to F16.
         "codes": ("cuda/nemotron-h-tiny-cuda-codes", ["sm_89", "sm_120a"]),
         "heads": ("cuda/attention-heads-cuda-all", ARCHITECTURES),
         "heads-fp8": ("cuda/attention-heads-cuda-all-fp8", ARCHITECTURES)}
FLOATING_SHARE = 0.25  # of the main loop's instructions, at most


class Kernels(Case):
    @classmethod
    def setUpClass(cls):
        cls.launches = {}

    def kernels(self, plan):
        if plan not in self.launches:
            done = run("nemotron-inspect", self.plan(PLANS[plan][0]), "--kernels", "--json")
            self.launches[plan] = json.loads(done.stdout)["kernels"]
        return self.launches[plan]

    def all_launches(self):
        return [(plan, launch) for plan in PLANS for launch in self.kernels(plan)]

    def test_every_architecture_is_there(self):
        for plan in PLANS:
            names = {launch["function"] for launch in self.kernels(plan)}
            self.assertIn("matmul_many_rows", names)
            for architecture in PLANS[plan][1]:
                found = {launch["function"] for launch in self.kernels(plan) if launch["architecture"] == architecture}
                self.assertEqual(found, names)

    def test_no_instruction_is_unknown(self):
        for plan, launch in self.all_launches():
            with self.subTest(plan=plan, kernel=launch["kernel"], architecture=launch["architecture"]):
                self.assertEqual(launch["instructions"]["unknown"], 0)
                self.assertGreater(launch["instructions"]["total"], 0)

    def test_every_launch_fits(self):
        for plan, launch in self.all_launches():
            with self.subTest(plan=plan, kernel=launch["kernel"], architecture=launch["architecture"]):
                self.assertGreater(launch["registers"], 0)
                self.assertGreaterEqual(launch["occupancy"]["blocks"], 1)
                self.assertLessEqual(launch["occupancy"]["share"], 1)

    def test_no_spills(self):
        found = {}
        for plan, launch in self.all_launches():
            numbers = [launch[key] for key in ("stack_bytes", "local_loads", "local_stores")]
            if any(numbers):
                key = plan, launch["function"], launch["architecture"]
                found.setdefault(key, []).append((launch["kernel"], *numbers))
        self.assertEqual(found, {})

    def test_products_use_tensor_cores(self):
        """In their main loop; the few steps of a short product may be unrolled, and leave none."""
        for plan, launch in self.all_launches():
            if launch["function"].startswith("matmul_"):
                with self.subTest(plan=plan, kernel=launch["kernel"], function=launch["function"],
                                  architecture=launch["architecture"]):
                    self.assertGreater((launch["main_loop"] or launch["instructions"])["tensor"], 0)

    def test_main_loops_convert_little(self):
        found, looped = {}, set()
        for plan, launch in self.all_launches():
            loop = launch["main_loop"]
            if launch["function"] == "matmul_many_rows" and loop is not None:
                key = plan, launch["function"], launch["architecture"]
                looped.add(key)
                if loop["floating_share"] > FLOATING_SHARE:
                    found.setdefault(key, []).append((launch["kernel"], loop))
        self.assertEqual(len(looped), sum(len(architectures) for _, architectures in PLANS.values()))
        self.assertEqual(found, {})

    def test_table(self):
        text = run("nemotron-inspect", self.plan(PLANS["bf16"][0]), "--kernels").stdout
        for word in ("matmul_many_rows", "sm_120a", "limited by", "main loop"):
            self.assertIn(word, text)

    def test_kernels_only_where_asked_for(self):
        self.assertNotIn("kernels", json.loads(run("nemotron-inspect", self.plan(PLANS["bf16"][0]), "--json").stdout))

    def test_plan_for_cpus(self):
        done = run("nemotron-inspect", self.plan("nemotron-h-tiny-bf16"), "--kernels", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("kernels of target 'cpu' are part of the runtime, not of the plan; expected a plan for 'cuda'",
                      done.stderr)

    def test_damaged_image(self):
        data = bytearray(self.plan(PLANS["bf16"][0]).read_bytes())
        image = data.index(b"\x7fELF")
        data[image + 8] = 7  # the version of the ABI
        path = self.tmp / "damaged.plan"
        path.write_bytes(data)
        done = run("nemotron-inspect", path, "--kernels", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, "ABI version 7, expected 8; in image 'sm_80' of kernel 'cuda\\.[^']*'; in '.*'")


if __name__ == "__main__":
    main()
