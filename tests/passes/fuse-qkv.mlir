// RUN: nemotron-opt %s -nemotron-fuse-qkv | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-qkv -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// 4 heads of 2 query a cache of 2 heads of 2: 8 + 4 + 4 = 16 rows.
nemotron.state @kv kv_cache : tensor<2x2x2xbf16>
nemotron.weight @k_proj : tensor<4x6xbf16> from "k"
nemotron.weight @v_proj : tensor<4x6xbf16> from "v"

// CHECK-LABEL: @fuses_three
// CHECK-SAME:    (%[[X:.*]]: tensor<?x6xf32>, %[[WQ:.*]]: tensor<8x6xbf16>, %[[WK:.*]]: tensor<4x6xbf16>, %[[WV:.*]]: tensor<4x6xbf16>, %[[BATCH:.*]]: !nemotron.batch)
// CHECK-NEXT:    %[[W:.*]] = nemotron.concat %[[WQ]], %[[WK]], %[[WV]] {nemotron.layer = 7 : i64} : {{.*}} -> tensor<16x6xbf16>
// CHECK-NEXT:    %[[QKV:.*]] = nemotron.linear %[[X]], %[[W]] {nemotron.layer = 7 : i64} : (tensor<?x6xf32>, tensor<16x6xbf16>) -> tensor<?x16xf32>
// CHECK-NEXT:    %[[PARTS:.*]]:3 = nemotron.split %[[QKV]] {nemotron.layer = 7 : i64} : (tensor<?x16xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
// CHECK-NEXT:    nemotron.attention %[[PARTS]]#0, %[[PARTS]]#1, %[[PARTS]]#2 of %[[BATCH]] cache @kv
// CHECK-NOT:     nemotron.linear
// LOC-LABEL:   @fuses_three
// LOC:           nemotron.concat {{.*}} loc(#[[QKV:.*]])
// LOC-NEXT:      nemotron.linear {{.*}} loc(#[[QKV]])
// LOC-NEXT:      nemotron.split {{.*}} loc(#[[QKV]])
func.func @fuses_three(%x: tensor<?x6xf32>, %wq: tensor<8x6xbf16>, %wk: tensor<4x6xbf16>, %wv: tensor<4x6xbf16>,
                       %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq {nemotron.layer = 7} : (tensor<?x6xf32>, tensor<8x6xbf16>) -> tensor<?x8xf32> loc("layers.7.q_proj")
  %k = nemotron.linear %x, %wk {nemotron.layer = 7} : (tensor<?x6xf32>, tensor<4x6xbf16>) -> tensor<?x4xf32> loc("layers.7.k_proj")
  %v = nemotron.linear %x, %wv {nemotron.layer = 7} : (tensor<?x6xf32>, tensor<4x6xbf16>) -> tensor<?x4xf32> loc("layers.7.v_proj")
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// Nemotron-4: the rotary embeddings stay, the weights move above the first linear, biases are joined as well.
// CHECK-LABEL: @through_rotary_embedding
// CHECK-SAME:    %[[WQ:[^:]*]]: tensor<8x6xbf16>, %[[BQ:[^:]*]]: tensor<8xf32>, %[[BKV:[^:]*]]: tensor<4xf32>
// CHECK-NEXT:    %[[WK:.*]] = nemotron.get_weight @k_proj
// CHECK-NEXT:    %[[WV:.*]] = nemotron.get_weight @v_proj
// CHECK-NEXT:    %[[W:.*]] = nemotron.concat %[[WQ]], %[[WK]], %[[WV]]
// CHECK-NEXT:    %[[B:.*]] = nemotron.concat %[[BQ]], %[[BKV]], %[[BKV]] : (tensor<8xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<16xf32>
// CHECK-NEXT:    %[[QKV:.*]] = nemotron.linear %{{.*}}, %[[W]] bias %[[B]]
// CHECK-NEXT:    %[[PARTS:.*]]:3 = nemotron.split %[[QKV]]
// CHECK-NEXT:    %[[QR:.*]] = nemotron.rotary_embedding %[[PARTS]]#0
// CHECK-NEXT:    %[[KR:.*]] = nemotron.rotary_embedding %[[PARTS]]#1
// CHECK-NEXT:    nemotron.attention %[[QR]], %[[KR]], %[[PARTS]]#2
func.func @through_rotary_embedding(%x: tensor<?x6xf32>, %wq: tensor<8x6xbf16>, %bq: tensor<8xf32>, %bkv: tensor<4xf32>,
                                    %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq bias %bq : (tensor<?x6xf32>, tensor<8x6xbf16>, tensor<8xf32>) -> tensor<?x8xf32>
  %qr = nemotron.rotary_embedding %q of %batch {head_dim = 2, rotary_dim = 2, theta = 1.0e4 : f32} : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %wk = nemotron.get_weight @k_proj : tensor<4x6xbf16>
  %k = nemotron.linear %x, %wk bias %bkv : (tensor<?x6xf32>, tensor<4x6xbf16>, tensor<4xf32>) -> tensor<?x4xf32>
  %kr = nemotron.rotary_embedding %k of %batch {head_dim = 2, rotary_dim = 2, theta = 1.0e4 : f32} : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  %wv = nemotron.get_weight @v_proj : tensor<4x6xbf16>
  %v = nemotron.linear %x, %wv bias %bkv : (tensor<?x6xf32>, tensor<4x6xbf16>, tensor<4xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %qr, %kr, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// The linears stand in another order than their values in the attention, and one has another reader.
// CHECK-LABEL: @any_order
// CHECK-NEXT:    nemotron.concat %{{.*}}, %{{.*}}, %{{.*}}
// CHECK-NEXT:    %[[QKV:.*]] = nemotron.linear
// CHECK-NEXT:    %[[PARTS:.*]]:3 = nemotron.split %[[QKV]]
// CHECK-NEXT:    %[[U:.*]] = nemotron.relu2 %[[PARTS]]#2
// CHECK-NEXT:    %[[O:.*]] = nemotron.attention %[[PARTS]]#0, %[[PARTS]]#1, %[[PARTS]]#2
// CHECK-NEXT:    return %[[O]], %[[U]]
func.func @any_order(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %wv: tensor<4x6xf32>,
                     %batch: !nemotron.batch) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  %v = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %u = nemotron.relu2 %v : tensor<?x4xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o, %u : tensor<?x8xf32>, tensor<?x4xf32>
}

// CHECK-LABEL: @keys_are_values
// CHECK-NEXT:    nemotron.concat %{{.*}}, %{{.*}} : (tensor<8x6xf32>, tensor<4x6xf32>) -> tensor<12x6xf32>
// CHECK:         %[[QK:.*]]:2 = nemotron.split
// CHECK-NEXT:    nemotron.attention %[[QK]]#0, %[[QK]]#1, %[[QK]]#1
func.func @keys_are_values(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// Two attentions of one input: each gets a matrix of its own.
// CHECK-LABEL: @two_attentions
// CHECK-COUNT-2: -> tensor<16x6xf32>
func.func @two_attentions(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %wv: tensor<4x6xf32>,
                          %batch: !nemotron.batch) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %q0 = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k0 = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %v0 = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o0 = nemotron.attention %q0, %k0, %v0 of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
      : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %q1 = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k1 = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %v1 = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o1 = nemotron.attention %q1, %k1, %v1 of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
      : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o0, %o1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @different_inputs
// CHECK-NOT:     nemotron.concat
func.func @different_inputs(%x: tensor<?x6xf32>, %y: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>,
                            %wv: tensor<4x6xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %y, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %v = nemotron.linear %y, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @different_weight_types
// CHECK-NOT:     nemotron.concat
func.func @different_weight_types(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xbf16>, %wv: tensor<4x6xbf16>,
                                  %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xbf16>) -> tensor<?x4xf32>
  %v = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xbf16>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @different_result_types
// CHECK-NOT:     nemotron.concat
func.func @different_result_types(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %wv: tensor<4x6xf32>,
                                  %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xbf16>
  %v = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xbf16>
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xbf16>, tensor<?x4xbf16>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @some_biases
// CHECK-NOT:     nemotron.concat
func.func @some_biases(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %wv: tensor<4x6xf32>, %bq: tensor<8xf32>,
                       %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq bias %bq : (tensor<?x6xf32>, tensor<8x6xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %v = nemotron.linear %x, %wv : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @different_bias_types
// CHECK-NOT:     nemotron.concat
func.func @different_bias_types(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %bq: tensor<8xf32>,
                                %bk: tensor<4xbf16>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq bias %bq : (tensor<?x6xf32>, tensor<8x6xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk bias %bk : (tensor<?x6xf32>, tensor<4x6xf32>, tensor<4xbf16>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @different_activations
// CHECK-NOT:     nemotron.concat
func.func @different_activations(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk {activation = #nemotron.activation<relu2>} : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @already_one_matrix
// CHECK-NOT:     nemotron.concat
func.func @already_one_matrix(%x: tensor<?x6xf32>, %w: tensor<16x6xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %qkv = nemotron.linear %x, %w : (tensor<?x6xf32>, tensor<16x6xf32>) -> tensor<?x16xf32>
  %q, %k, %v = nemotron.split %qkv : (tensor<?x16xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @other_block
// CHECK-NOT:     nemotron.concat
func.func @other_block(%x: tensor<?x6xf32>, %wq: tensor<8x6xf32>, %wk: tensor<4x6xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.linear %x, %wq : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  cf.br ^next
^next:
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// The linears of an expert layer read one input too, but go to no attention.
// CHECK-LABEL: @no_attention
// CHECK-NOT:     nemotron.concat
func.func @no_attention(%x: tensor<?x6xf32>, %w0: tensor<8x6xf32>, %w1: tensor<4x6xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>) {
  %a = nemotron.linear %x, %w0 : (tensor<?x6xf32>, tensor<8x6xf32>) -> tensor<?x8xf32>
  %b = nemotron.linear %x, %w1 : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  return %a, %b : tensor<?x8xf32>, tensor<?x4xf32>
}

// Each matrix keeps its scale, as the scale of its rows; one that has scales of rows already keeps those.
// CHECK-LABEL: @scaled
// CHECK-DAG:     %[[W:.*]] = nemotron.concat {{.*}} -> tensor<12x6xf8E4M3FN>
// CHECK-DAG:     %[[QS:.*]] = nemotron.broadcast %{{.*}} : tensor<1xf32> to tensor<8xf32>
// CHECK-DAG:     %[[S:.*]] = nemotron.concat %[[QS]], %{{.*}} : (tensor<8xf32>, tensor<4xf32>) -> tensor<12xf32>
// CHECK:         %[[QK:.*]] = nemotron.scaled_matmul %{{.*}} scaled %{{.*}}, %[[W]] scaled %[[S]]
// CHECK-NEXT:    nemotron.split %[[QK]]
// CHECK-NOT:     nemotron.scaled_matmul
func.func @scaled(%x: tensor<?x6xf8E4M3FN>, %t: tensor<?x1xf32>, %wq: tensor<8x6xf8E4M3FN>, %sq: tensor<1xf32>,
                  %wk: tensor<4x6xf8E4M3FN>, %sk: tensor<4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.scaled_matmul %x scaled %t, %wq scaled %sq
     : (tensor<?x6xf8E4M3FN>, tensor<?x1xf32>, tensor<8x6xf8E4M3FN>, tensor<1xf32>) -> tensor<?x8xf32>
  %k = nemotron.scaled_matmul %x scaled %t, %wk scaled %sk
     : (tensor<?x6xf8E4M3FN>, tensor<?x1xf32>, tensor<4x6xf8E4M3FN>, tensor<4xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// Scales of groups are rows of scales; where rows differ in their groups, matrices stay apart.
// CHECK-LABEL: @groups
// CHECK-DAG:     %[[W:.*]] = nemotron.concat {{.*}} -> tensor<12x6xi8>
// CHECK-DAG:     %[[S:.*]] = nemotron.concat %{{.*}}, %{{.*}} : (tensor<8x3xf32>, tensor<4x3xf32>) -> tensor<12x3xf32>
// CHECK:         nemotron.scaled_matmul %{{.*}} scaled %{{.*}}, %[[W]] scaled %[[S]]
// CHECK-NOT:     nemotron.scaled_matmul
func.func @groups(%x: tensor<?x6xi8>, %t: tensor<?x1xf32>, %wq: tensor<8x6xi8>, %sq: tensor<8x3xf32>,
                  %wk: tensor<4x6xi8>, %sk: tensor<4x3xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.scaled_matmul %x scaled %t, %wq scaled %sq
     : (tensor<?x6xi8>, tensor<?x1xf32>, tensor<8x6xi8>, tensor<8x3xf32>) -> tensor<?x8xf32>
  %k = nemotron.scaled_matmul %x scaled %t, %wk scaled %sk
     : (tensor<?x6xi8>, tensor<?x1xf32>, tensor<4x6xi8>, tensor<4x3xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// CHECK-LABEL: @groups_and_rows
// CHECK-NOT:     nemotron.concat
func.func @groups_and_rows(%x: tensor<?x6xi8>, %t: tensor<?x1xf32>, %wq: tensor<8x6xi8>, %sq: tensor<8x3xf32>,
                           %wk: tensor<4x6xi8>, %sk: tensor<4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.scaled_matmul %x scaled %t, %wq scaled %sq
     : (tensor<?x6xi8>, tensor<?x1xf32>, tensor<8x6xi8>, tensor<8x3xf32>) -> tensor<?x8xf32>
  %k = nemotron.scaled_matmul %x scaled %t, %wk scaled %sk
     : (tensor<?x6xi8>, tensor<?x1xf32>, tensor<4x6xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// One is quantized and the other is not.
// CHECK-LABEL: @scaled_and_not
// CHECK-NOT:     nemotron.concat
func.func @scaled_and_not(%x: tensor<?x6xf32>, %wq: tensor<8x6xf8E4M3FN>, %sq: tensor<1xf32>, %wk: tensor<4x6xf32>,
                          %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %q = nemotron.scaled_matmul %x, %wq scaled %sq : (tensor<?x6xf32>, tensor<8x6xf8E4M3FN>, tensor<1xf32>) -> tensor<?x8xf32>
  %k = nemotron.linear %x, %wk : (tensor<?x6xf32>, tensor<4x6xf32>) -> tensor<?x4xf32>
  %o = nemotron.attention %q, %k, %k of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// LOC-DAG: #[[Q:.*]] = loc("layers.7.q_proj")
// LOC-DAG: #[[K:.*]] = loc("layers.7.k_proj")
// LOC-DAG: #[[V:.*]] = loc("layers.7.v_proj")
// LOC-DAG: #[[FUSED:.*]] = loc(fused[#[[Q]], #[[K]], #[[V]]])
// LOC-DAG: #[[QKV]] = loc("layers.7.qkv_proj"(#[[FUSED]]))
