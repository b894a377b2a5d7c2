// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -canonicalize | FileCheck %s --check-prefix=FOLD

// CHECK: nemotron.weight @layers.3.q : tensor<256x192xbf16> from "backbone.layers.3.mixer.q_proj.weight"
nemotron.weight @layers.3.q : tensor<256x192xbf16> from "backbone.layers.3.mixer.q_proj.weight"
// CHECK: nemotron.state @layers.3.kv kv_cache : tensor<2x2x64xf32>
nemotron.state @layers.3.kv kv_cache : tensor<2x2x64xf32>

// CHECK-LABEL: @transforms
func.func @transforms(%k: tensor<128x192xbf16>, %e: tensor<64x96xf16>, %c: tensor<512x1x4xbf16>) {
  // CHECK: nemotron.get_weight @layers.3.q : tensor<256x192xbf16>
  %q = nemotron.get_weight @layers.3.q : tensor<256x192xbf16>
  // CHECK: nemotron.cast %{{.*}} : tensor<256x192xbf16> to tensor<256x192xf32>
  %f = nemotron.cast %q : tensor<256x192xbf16> to tensor<256x192xf32>
  // CHECK: nemotron.concat %{{.*}}, %{{.*}} : (tensor<256x192xbf16>, tensor<128x192xbf16>) -> tensor<384x192xbf16>
  %qk = nemotron.concat %q, %k : (tensor<256x192xbf16>, tensor<128x192xbf16>) -> tensor<384x192xbf16>
  // CHECK: nemotron.stack %{{.*}}, %{{.*}} : (tensor<64x96xf16>, tensor<64x96xf16>) -> tensor<2x64x96xf16>
  %s = nemotron.stack %e, %e : (tensor<64x96xf16>, tensor<64x96xf16>) -> tensor<2x64x96xf16>
  // CHECK: nemotron.slice %{{.*}} from 256 : tensor<384x192xbf16> to tensor<128x192xbf16>
  %l = nemotron.slice %qk from 256 : tensor<384x192xbf16> to tensor<128x192xbf16>
  // CHECK: nemotron.reshape %{{.*}} : tensor<512x1x4xbf16> to tensor<512x4xbf16>
  %r = nemotron.reshape %c : tensor<512x1x4xbf16> to tensor<512x4xbf16>
  // CHECK: nemotron.transpose %{{.*}} : tensor<512x4xbf16> to tensor<4x512xbf16>
  %t = nemotron.transpose %r : tensor<512x4xbf16> to tensor<4x512xbf16>
  return
}

// FOLD-LABEL: @folds_identities
// FOLD-SAME:    (%[[A:.*]]: tensor<8x4xf32>)
func.func @folds_identities(%a: tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>) {
  %0 = nemotron.cast %a : tensor<8x4xf32> to tensor<8x4xf32>
  %1 = nemotron.concat %a : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = nemotron.slice %a from 0 : tensor<8x4xf32> to tensor<8x4xf32>
  %3 = nemotron.reshape %a : tensor<8x4xf32> to tensor<8x4xf32>
  // FOLD-NEXT: return %[[A]], %[[A]], %[[A]], %[[A]]
  return %0, %1, %2, %3 : tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>
}

// FOLD-LABEL: @folds_reshapes
// FOLD-SAME:    (%[[A:.*]]: tensor<8x4xf32>)
func.func @folds_reshapes(%a: tensor<8x4xf32>) -> (tensor<8x2x2xf32>, tensor<8x4xf32>) {
  %0 = nemotron.reshape %a : tensor<8x4xf32> to tensor<32xf32>
  // FOLD-NEXT: %[[R:.*]] = nemotron.reshape %[[A]] : tensor<8x4xf32> to tensor<8x2x2xf32>
  %1 = nemotron.reshape %0 : tensor<32xf32> to tensor<8x2x2xf32>
  %2 = nemotron.reshape %0 : tensor<32xf32> to tensor<8x4xf32>
  // FOLD-NEXT: return %[[R]], %[[A]]
  return %1, %2 : tensor<8x2x2xf32>, tensor<8x4xf32>
}

// FOLD-LABEL: @keeps_changes
func.func @keeps_changes(%a: tensor<8x4xf32>) -> (tensor<8x4xbf16>, tensor<16x4xf32>, tensor<4x4xf32>) {
  // FOLD: nemotron.cast
  %0 = nemotron.cast %a : tensor<8x4xf32> to tensor<8x4xbf16>
  // FOLD: nemotron.concat
  %1 = nemotron.concat %a, %a : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<16x4xf32>
  // FOLD: nemotron.slice
  %2 = nemotron.slice %a from 0 : tensor<8x4xf32> to tensor<4x4xf32>
  return %0, %1, %2 : tensor<8x4xbf16>, tensor<16x4xf32>, tensor<4x4xf32>
}
