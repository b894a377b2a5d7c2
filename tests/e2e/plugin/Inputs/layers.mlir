// Two layers and a head, for the passes of docs/examples/pass-plugin.
nemotron.weight @embeddings : tensor<32x8xbf16> from "embeddings"
nemotron.weight @layers.0.conv1d : tensor<8x4xf32> from "conv1d"
nemotron.weight @layers.1.up_proj : tensor<16x8xbf16> from "up_proj"
nemotron.weight @layers.1.down_proj : tensor<8x16xbf16> from "down_proj"
nemotron.state @layers.0.conv conv : tensor<3x8xf32>

func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x32xf32> {
  %e = nemotron.get_weight @embeddings : tensor<32x8xbf16>
  %x0 = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<32x8xbf16>) -> tensor<?x8xf32>
  %w0 = nemotron.get_weight @layers.0.conv1d {nemotron.layer = 0} : tensor<8x4xf32>
  %c = nemotron.causal_conv1d %x0, %w0 of %batch conv @layers.0.conv {nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %x1 = nemotron.add %x0, %c {nemotron.layer = 0} : tensor<?x8xf32>
  %w1 = nemotron.get_weight @layers.1.up_proj {nemotron.layer = 1} : tensor<16x8xbf16>
  %u = nemotron.linear %x1, %w1 {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<16x8xbf16>) -> tensor<?x16xf32>
  %r = nemotron.relu2 %u {nemotron.layer = 1} : tensor<?x16xf32>
  %w2 = nemotron.get_weight @layers.1.down_proj {nemotron.layer = 1} : tensor<8x16xbf16>
  %d = nemotron.linear %r, %w2 {nemotron.layer = 1} : (tensor<?x16xf32>, tensor<8x16xbf16>) -> tensor<?x8xf32>
  %x2 = nemotron.add %x1, %d {nemotron.layer = 1} : tensor<?x8xf32>
  %s = nemotron.select_rows %x2 of %batch : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %l = nemotron.linear %s, %e : (tensor<?x8xf32>, tensor<32x8xbf16>) -> tensor<?x32xf32>
  return %l : tensor<?x32xf32>
}
