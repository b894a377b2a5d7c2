// RUN: split-file %s %t
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=no-such 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/broken.json 2>&1 | FileCheck %s --check-prefix=BROKEN
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/key.json 2>&1 | FileCheck %s --check-prefix=KEY
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/rule-key.json 2>&1 | FileCheck %s --check-prefix=RULEKEY
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/rules.json 2>&1 | FileCheck %s --check-prefix=RULES
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/empty.json 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/layers.json 2>&1 | FileCheck %s --check-prefix=LAYERS
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/glob.json 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/strings.json 2>&1 | FileCheck %s --check-prefix=STRINGS
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/dtype.json 2>&1 | FileCheck %s --check-prefix=DTYPE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/int8-bf16.json 2>&1 | FileCheck %s --check-prefix=I8BF16
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/e4m3-int8.json 2>&1 | FileCheck %s --check-prefix=MIXED
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/int8-static.json 2>&1 | FileCheck %s --check-prefix=I8STATIC
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/e4m3-groups.json 2>&1 | FileCheck %s --check-prefix=F8GROUPS
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/no-group-size.json 2>&1 | FileCheck %s --check-prefix=NOSIZE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/group-size.json 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/odd-group-size.json 2>&1 | FileCheck %s --check-prefix=ODDSIZE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/large-group-size.json 2>&1 | FileCheck %s --check-prefix=LARGESIZE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/large-group-size-moe.json 2>&1 | FileCheck %s --check-prefix=MOESIZE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/int8-cache.json 2>&1 | FileCheck %s --check-prefix=I8CACHE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/no-dtype.json 2>&1 | FileCheck %s --check-prefix=NODTYPE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/no-activations.json 2>&1 | FileCheck %s --check-prefix=NOACT
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/activations.json 2>&1 | FileCheck %s --check-prefix=ACT
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/static-token.json 2>&1 | FileCheck %s --check-prefix=TOKEN
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/bf16-scale.json 2>&1 | FileCheck %s --check-prefix=BF16
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/keep.json 2>&1 | FileCheck %s --check-prefix=KEEP
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/cache.json 2>&1 | FileCheck %s --check-prefix=CACHE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/no-layer.json 2>&1 | FileCheck %s --check-prefix=NOLAYER
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/no-matrix.json 2>&1 | FileCheck %s --check-prefix=NOMATRIX
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/static.json 2>&1 | FileCheck %s --check-prefix=STATIC
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/nothing.json 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/step.json 2>&1 | FileCheck %s --check-prefix=STEP
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=kv-cache=int8 2>&1 | FileCheck %s --check-prefix=KVTYPE
// RUN: not nemotron-opt %t/model.mlir '-nemotron-quantize=kv-cache=e4m3 kv-scale=-1' 2>&1 | FileCheck %s --check-prefix=KVSCALE
// RUN: not nemotron-opt %t/model.mlir -nemotron-quantize=kv-cache=e4m3 2>&1 | FileCheck %s --check-prefix=KVNONE

// NONE:     'no-such' is neither a file nor a built-in recipe, expected one of fp8, fp8-all, int8, nemotron-3, nemotron-h, weight-only
// BROKEN:   line 1{{.*}}in recipe '{{.*}}broken.json'
// KEY:      it has a key 'rule', expected only description, source, rules, kv_cache; in recipe '{{.*}}key.json'
// RULEKEY:  it has a key 'layer', expected only layers, matrices, optional, keep, weights, activations; in recipe '{{.*}}rule-key.json', rules[1]
// RULES:    'rules' is not a list; in recipe
// EMPTY:    has neither rules nor a kv_cache; in recipe
// LAYERS:   layers 'first' are not known, expected all, head, first N, last N, N, N-M, mamba, attention, mlp, moe or mamba before attention; in recipe '{{.*}}', rules[0]
// GLOB:     matrices '[' are not a pattern: {{.*}}; in recipe '{{.*}}', rules[0]
// STRINGS:  'matrices' is neither a string nor a list of strings; in recipe '{{.*}}', rules[0]
// DTYPE:    'dtype' is 'int4', expected one of e4m3, int8; in recipe '{{.*}}', rules[0]
// I8BF16:   weights of int8 have 'activations' of bf16, expected int8; in recipe '{{.*}}', rules[0]
// MIXED:    weights of e4m3 have 'activations' of int8, expected e4m3 or bf16; in recipe '{{.*}}', rules[0]
// I8STATIC: 'activations' of int8 have a static scale, which calibrations give to e4m3 only; in recipe '{{.*}}', rules[0]
// F8GROUPS: 'weights' of e4m3 have scales for groups, expected int8; in recipe '{{.*}}', rules[0]
// NOSIZE:   'weights' of granularity group have no 'group_size'; in recipe '{{.*}}', rules[0]
// SIZE:     'weights' of granularity tensor have a 'group_size'; in recipe '{{.*}}', rules[0]
// ODDSIZE:  'group_size' is 48, expected a multiple of 32; in recipe '{{.*}}', rules[0]
// LARGESIZE: 'up_proj' of layer 0 has 8 inputs, not a multiple of the group_size, 32
// MOESIZE:  'experts' of layer 1 has 8 inputs, not a multiple of the group_size, 32
// I8CACHE:  'dtype' is 'int8', expected one of e4m3; in recipe
// NODTYPE:  'weights' have no 'dtype', expected e4m3 or int8; in recipe '{{.*}}', rules[0]
// NOACT:    has no 'weights' and 'activations', and not 'keep' either; in recipe '{{.*}}', rules[0]
// ACT:      'activations' have no 'dtype', expected e4m3, int8 or bf16; in recipe '{{.*}}', rules[0]
// TOKEN:    'activations' have a static scale for each token, expected granularity tensor; in recipe '{{.*}}', rules[0]
// BF16:     'activations' of bf16 have a granularity or scale, expected none; in recipe '{{.*}}', rules[0]
// KEEP:     'keep' goes without 'weights' and 'activations'; in recipe '{{.*}}', rules[0]
// CACHE:    'dtype' is 'int4', expected one of e4m3; in recipe
// NOLAYER:  in recipe '{{.*}}', rules[0]: layers 'mamba' match nothing in this model of 2 layers
// NOMATRIX: in recipe '{{.*}}', rules[0]: matrices 'upproj' match nothing in this model of 2 layers
// STATIC:   'up_proj' of layer 0 is to have a static scale, but no calibration gave one (--calibrate)
// NOTHING:  the recipe '{{.*}}' quantizes nothing in this model
// STEP:     quantizes rows of one expert, a scale for all tokens of a step is not supported
// KVTYPE:   kv-cache is 'int8', expected e4m3
// KVSCALE:  kv-scale is -1
// KVNONE:   of layer 0 needs a scale for the keys of its FP8 cache: calibrate (--calibrate TEXT), or give one (--kv-scale)

//--- model.mlir
nemotron.weight @up_proj : tensor<8x8xbf16> from "up"
nemotron.weight @gate : tensor<2x8xf32> from "gate"
nemotron.weight @correction : tensor<2xf32> from "correction"
nemotron.weight @up : tensor<2x6x8xbf16> from "experts.up"
nemotron.weight @down : tensor<2x8x6xbf16> from "experts.down"
nemotron.state @kv kv_cache : tensor<2x1x8xbf16>
func.func @step(%x: tensor<?x8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %w = nemotron.get_weight @up_proj : tensor<8x8xbf16>
  %y = nemotron.linear %x, %w {nemotron.layer = 0} : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32> loc("layers.0.up_proj")
  %o = nemotron.attention %y, %y, %y of %batch cache @kv
       {num_heads = 1, num_kv_heads = 1, head_dim = 8, scale = 0.5 : f32, nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %g = nemotron.get_weight @gate : tensor<2x8xf32>
  %gc = nemotron.get_weight @correction : tensor<2xf32>
  %i, %k = nemotron.moe_route %o, %g, %gc
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32, nemotron.layer = 1}
         : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %up = nemotron.get_weight @up : tensor<2x6x8xbf16>
  %down = nemotron.get_weight @down : tensor<2x8x6xbf16>
  %e = nemotron.moe_experts %o, %i, %k, %up, %down {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<?x1xi32>,
       tensor<?x1xf32>, tensor<2x6x8xbf16>, tensor<2x8x6xbf16>) -> tensor<?x8xf32> loc("layers.1.experts")
  return %e : tensor<?x8xf32>
}

//--- broken.json
{"rules": [,]}
//--- key.json
{"rule": []}
//--- rule-key.json
{"rules": [{"keep": true}, {"layer": "all", "keep": true}]}
//--- rules.json
{"rules": {}}
//--- empty.json
{"rules": []}
//--- layers.json
{"rules": [{"layers": "first", "keep": true}]}
//--- glob.json
{"rules": [{"matrices": "[", "keep": true}]}
//--- strings.json
{"rules": [{"matrices": [1], "keep": true}]}
//--- dtype.json
{"rules": [{"weights": {"dtype": "int4"}, "activations": {"dtype": "bf16"}}]}
//--- int8-bf16.json
{"rules": [{"weights": {"dtype": "int8"}, "activations": {"dtype": "bf16"}}]}
//--- e4m3-int8.json
{"rules": [{"weights": {"dtype": "e4m3"}, "activations": {"dtype": "int8"}}]}
//--- int8-static.json
{"rules": [{"weights": {"dtype": "int8"}, "activations": {"dtype": "int8", "granularity": "tensor"}}]}
//--- e4m3-groups.json
{"rules": [{"weights": {"dtype": "e4m3", "granularity": "group", "group_size": 32}, "activations": {"dtype": "e4m3"}}]}
//--- no-group-size.json
{"rules": [{"weights": {"dtype": "int8", "granularity": "group"}, "activations": {"dtype": "int8"}}]}
//--- group-size.json
{"rules": [{"weights": {"dtype": "int8", "group_size": 32}, "activations": {"dtype": "int8"}}]}
//--- odd-group-size.json
{"rules": [{"weights": {"dtype": "int8", "granularity": "group", "group_size": 48}, "activations": {"dtype": "int8"}}]}
//--- large-group-size.json
{"rules": [{"weights": {"dtype": "int8", "granularity": "group", "group_size": 32}, "activations": {"dtype": "int8"}}]}
//--- large-group-size-moe.json
{"rules": [{"layers": "moe", "weights": {"dtype": "int8", "granularity": "group", "group_size": 32}, "activations": {"dtype": "int8"}}]}
//--- int8-cache.json
{"rules": [], "kv_cache": {"dtype": "int8"}}
//--- no-dtype.json
{"rules": [{"weights": {}, "activations": {"dtype": "bf16"}}]}
//--- no-activations.json
{"rules": [{"weights": {"dtype": "e4m3"}}]}
//--- activations.json
{"rules": [{"weights": {"dtype": "e4m3"}, "activations": {}}]}
//--- static-token.json
{"rules": [{"weights": {"dtype": "e4m3"}, "activations": {"dtype": "e4m3", "granularity": "token", "scale": "static"}}]}
//--- bf16-scale.json
{"rules": [{"weights": {"dtype": "e4m3"}, "activations": {"dtype": "bf16", "scale": "current"}}]}
//--- keep.json
{"rules": [{"keep": true, "weights": {"dtype": "e4m3"}}]}
//--- cache.json
{"rules": [], "kv_cache": {"dtype": "int4"}}
//--- no-layer.json
{"rules": [{"layers": ["all", "mamba"], "keep": true}]}
//--- no-matrix.json
{"rules": [{"matrices": ["up_proj", "upproj"], "keep": true}]}
//--- static.json
{"rules": [{"weights": {"dtype": "e4m3"}, "activations": {"dtype": "e4m3", "granularity": "tensor"}}]}
//--- nothing.json
{"rules": [{"keep": true}]}
//--- step.json
{"rules": [{"layers": "moe", "weights": {"dtype": "e4m3"},
            "activations": {"dtype": "e4m3", "granularity": "tensor", "scale": "current"}}]}
