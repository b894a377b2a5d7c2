//===- CudaMoe.cpp - mixture of experts
//----------------------------------------------------------------------------===//
#include <algorithm>
#include <numeric>

#include "codegen/cuda/CudaKernels.h"
#include "codegen/cuda/MatmulTile.h"
#include "codegen/cuda/QuantizeConfig.h"
#include "dialects/Plan/IR/Plan.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

using llvm::alignTo;
using llvm::formatv;

/// The most neighbours, up to 4, that rows of `columns` elements are read by.
static int64_t vectorOf(int64_t columns, int64_t alignment = 4) {
  return std::gcd<int64_t>(std::gcd<int64_t>(columns, alignment), 4);
}

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

FailureOr<KernelSpec> specializeMoeRoute(DispatchOp dispatch) {
  KernelText text(dispatch, "moe_route");
  BufferShape input = text.shape("input"), indices = text.shape("indices"), weights = text.shape("weights");
  const int64_t experts = text.weightType("weight").getDimSize(0), picks = text.integer("num_experts_per_tok");
  const int64_t groups = text.integer("n_group"), topkGroup = text.integer("topk_group");
  if (experts > 1024 || groups > 32) {
    return dispatch.emitOpError() << "picks from " << experts << " experts in " << groups
                                  << " groups, but target cuda has no kernel for more than 1024 in 32";
  }
  if (experts % groups != 0 || topkGroup > groups || picks > experts / groups * topkGroup) {
    return dispatch.emitOpError() << "picks " << picks << " of " << experts << " experts in " << topkGroup << " of "
                                  << groups << " groups";
  }
  constexpr int64_t kPickWarps = 4;
  text.constant("kColumns", input.columns).constant("kInputStride", input.stride);
  text.constant("kVector", vectorOf(input.columns, input.alignment)).constant("kExperts", experts);
  text.constant("kPicks", picks).constant("kGroups", groups).constant("kTopkGroup", topkGroup);
  text.constant("kNormalize", text.flag("norm_topk_prob"));
  text.floatConstant("kScalingFactor", text.number("routed_scaling_factor")).constant("kPickWarps", kPickWarps);
  text.constant("kIndexStride", indices.stride).constant("kWeightStride", weights.stride);
  text.scratch("T*" + Twine(4 * experts));

  // Tokens and experts of a warp, warps of a block along both, steps over K on their way; the tokens it is for.
  struct Tile {
    StringRef function;
    int64_t tokens, experts, warpsT, warpsE, unroll, from, upTo;
  };
  for (const Tile &tile :
       {Tile{"router_few_tokens", 8, 1, 1, 1, 8, 0, 8}, Tile{"router_some_tokens", 4, 4, 2, 2, 2, 8, 512},
        Tile{"router_many_tokens", 8, 8, 4, 4, 1, 512, 0}}) {
    std::string size = std::to_string(llvm::divideCeil(experts, tile.experts * tile.warpsE));
    if (tile.upTo > 0) {
      size = formatv("T<={0} ? {1} : 0", tile.upTo, size);
    }
    if (tile.from > 0) {
      size = formatv("T>{0} ? ({1}) : 0", tile.from, size);
    }
    text.launch(tile.function,
                formatv("RouterLogits<Config, RouterTile<{0}, {1}, {2}, {3}, {4}>>", tile.tokens, tile.experts,
                        tile.warpsT, tile.warpsE, tile.unroll)
                    .str(),
                {size, formatv("ceil(T/{0})", tile.tokens * tile.warpsT).str()}, 32 * tile.warpsT * tile.warpsE, 0,
                {"input input", "weight weight", "scratch", "step"});
  }
  text.launch("pick_experts", "PickExperts<Config>", {formatv("ceil(T/{0})", kPickWarps).str()}, 32 * kPickWarps, 0,
              {"scratch", "weight correction_bias", "output indices", "output weights", "step"});
  return text.finish(formatv("f32_{0}of{1}x{2}", picks, experts, input.columns).str());
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

namespace {

/// Up to so many tokens are the columns of an instruction.
constexpr int64_t kFewTokens = 8;

/// One of the two products, as `Product` of kernels/matmul_slabs.cuh and kernels/moe_experts_products.cuh.
struct Product {
  StringRef name;
  Type input, weight;
  MatmulShape shape;
  int64_t inputStride, rawStride, weightScales;
  StringRef inputKind, scaling;

  bool quantizes() const { return scaling != "None"; }

  std::string declaration() const {
    return formatv("struct {0} {{\n  using Input = {1};\n  using Weight = {2};\n"
                   "  static constexpr InputKind kInputKind = InputKind::k{3};\n"
                   "  static constexpr Scaling kScaling = Scaling::k{4};\n"
                   "  static constexpr Activation kRawActivation = Activation::kNone;\n"
                   "  static constexpr int kOutputs = {5}, kDepth = {6}, kInputStride = {7}, kRawStride = {8}, "
                   "kWeightScales = {9};\n};",
                   name, KernelText::cppType(input), KernelText::cppType(weight), inputKind, scaling, shape.outputs,
                   shape.depth, inputStride, rawStride, weightScales)
        .str();
  }

  /// How a launch makes codes of a row of F32.
  QuantizeConfig rowConfig(StringRef configName, int64_t rawAlignment) const {
    return {configName, shape.depth, rawStride, rawAlignment, inputStride, input, "None", scaling};
  }
};

/// What is known of the experts of a dispatch, and where things lie in scratch.
struct Experts {
  int64_t count = 1, picks = 1;
  Product up, down;
  Type hidden;              ///< what `up` writes
  int64_t hiddenStride = 1; ///< elements
  int64_t bytesPerToken = 0;

  /// Declares a region of scratch: where it begins, in bytes a token. Regions begin at whole sectors.
  void region(KernelText &text, StringRef name, int64_t bytes) {
    text.constant(name, bytesPerToken);
    bytesPerToken += alignTo(bytes, 32);
  }
};

/// For up to kFewTokens, whose blocks make codes themselves.
MatmulShape shapeOfFew(const Product &product) {
  MatmulShape shape = product.shape;
  shape.quantizes = product.quantizes();
  return shape;
}

/// Tiles for up to kFewTokens, for picks of which an expert has up to 32 on average, and for more. The first has enough
/// blocks for the multiprocessors of an H100 if there are bands enough, `matrices` of which are worked on side by side.
SmallVector<MatmulTile, 3> tilesFor(const Product &product, ArrayRef<StringRef> names, ArrayRef<StringRef> functions,
                                    int64_t matrices, int64_t sharedOfFew) {
  const int64_t bands = product.shape.bands() * matrices;
  const int64_t warps = bands >= 4 * 128 ? 4 : bands >= 2 * 128 ? 2 : 1;
  SmallVector<MatmulTile, 3> tiles = {{names[0], functions[0], 0, warps, 1, 1, 1, 16, 4},
                                      {names[1], functions[1], 0, 4, 1, 1, 4, 8, 4},
                                      {names[2], functions[2], 0, 4, 2, 2, 4, 4, 3}};
  const MatmulShape few = shapeOfFew(product);
  tiles[0] = few.quantizes ? tiles[0].quantizing(few, sharedOfFew) : tiles[0].fit(few, sharedOfFew);
  tiles[1].fit(product.shape, kSharedBytes - 1024); // less the table of picks
  tiles[2].fit(product.shape, kSharedBytes - 1024);
  return tiles;
}

} // namespace

/// An element type, kind and scale of the inputs, of both products. An error where there is no kernel.
static FailureOr<Experts> readExperts(KernelText &text, DispatchOp dispatch) {
  Builder builder(dispatch.getContext());
  BufferShape input = text.shape("input");
  RankedTensorType up = text.weightType("up"), down = text.weightType("down");
  if (!up.getEncoding() || !down.getEncoding() || up.getElementType() != down.getElementType()) {
    return dispatch.emitOpError() << "has matrices of " << up.getElementType() << " and " << down.getElementType()
                                  << ", expected bf16 or f8E4M3FN for both: target cuda has no other";
  }
  const bool isScaled = up.getElementType().isFloat8E4M3FN();
  StringRef activations = isScaled ? text.string("activations") : "bf16";
  if (activations != "bf16" && activations != "e4m3") {
    return dispatch.emitOpError() << "has activations " << activations
                                  << ", expected e4m3 or bf16: target cuda has no other";
  }
  const bool isCodes = activations == "e4m3", splits = !isScaled && text.flag("split_input");
  // BF16 is what is rounded to it otherwise; splitting and quantizing begin with F32.
  const bool isBF16 = input.element.isBF16() && !isScaled && !splits;
  const int64_t inputBytes = isBF16 ? 2 : 4;
  if (!(isBF16 || input.element.isF32()) || inputBytes * input.alignment < 16) {
    return dispatch.emitOpError() << "reads columns of " << input.element << " that begin at a multiple of "
                                  << input.alignment << ", which target cuda has no kernel for";
  }
  Type f32 = builder.getF32Type(), codes = multipliesE4M3(dispatch) ? up.getElementType() : builder.getF16Type();
  StringRef kind = isCodes ? "Codes" : splits ? "Split" : "Rounded";
  const auto scalesOf = [&](StringRef name) -> int64_t { return isScaled ? text.weightType(name).getDimSize(1) : 0; };
  // Codes of `down` by the scale of its expert are stored by `up`.
  const bool quantizesHidden = isCodes && !text.hasWeight("down_input_scale");
  if (quantizesHidden && !text.shape("hidden_maxima").element) {
    return dispatch.emitOpError() << "quantizes rows by their maximum, expected a zeroed output 'hidden_maxima' to "
                                     "gather it";
  }

  Experts experts;
  experts.count = up.getDimSize(0);
  experts.picks = text.shape("indices").columns;
  const int64_t weightBytes = isScaled ? 1 : 2, width = up.getDimSize(2), expertWidth = up.getDimSize(1);
  // What `down` reads: BF16 that `up` has rounded; F32 that is split, rounded or quantized while it is read; codes.
  experts.hidden = quantizesHidden || splits || (isScaled && !isCodes) ? f32
                   : isCodes                                           ? codes
                                                                       : Type(builder.getBF16Type());
  experts.hiddenStride = alignTo(expertWidth, 32 * 8 / experts.hidden.getIntOrFloatBitWidth());
  Type upInput = isCodes ? codes : input.element, downInput = quantizesHidden ? codes : experts.hidden;
  experts.up = {"UpProduct",
                upInput,
                up.getElementType(),
                {upInput.getIntOrFloatBitWidth() / 8, weightBytes, expertWidth, width},
                isCodes ? static_cast<int64_t>(alignTo(width, 32)) : input.stride,
                input.stride,
                scalesOf("up_scale"),
                kind,
                !isCodes                           ? "None"
                : text.hasWeight("up_input_scale") ? "Static"
                                                   : "Token"};
  experts.down = {"DownProduct",
                  downInput,
                  down.getElementType(),
                  {downInput.getIntOrFloatBitWidth() / 8, weightBytes, width, expertWidth},
                  quantizesHidden ? static_cast<int64_t>(alignTo(expertWidth, 32)) : experts.hiddenStride,
                  experts.hiddenStride,
                  scalesOf("down_scale"),
                  kind,
                  quantizesHidden ? "Token" : "None"};
  return experts;
}

/// Regions of scratch (ExpertScratch of kernels/moe_experts_products.cuh).
static void addScratch(KernelText &text, Experts &experts) {
  const Product &up = experts.up, &down = experts.down;
  const int64_t picks = experts.picks, resultStride = alignTo(down.shape.outputs, 8);
  const int64_t inputRows = !up.quantizes() ? 0 : up.scaling == "Static" ? picks : 1;
  const int64_t hiddenRows = down.quantizes() ? picks : 0;
  const int64_t hiddenBytes = experts.hidden.getIntOrFloatBitWidth() / 8 * experts.hiddenStride;
  experts.region(text, "kUpCodesOffset", inputRows * up.inputStride * up.shape.inputBytes);
  experts.region(text, "kUpScalesOffset", inputRows * 4);
  experts.region(text, "kHiddenOffset", picks * hiddenBytes);
  experts.region(text, "kDownCodesOffset", hiddenRows * down.inputStride * down.shape.inputBytes);
  experts.region(text, "kDownScalesOffset", hiddenRows * 4);
  experts.region(text, "kResultsOffset", picks * resultStride * 4);
  experts.region(text, "kOrderOffset", picks * 4);
  experts.region(text, "kTilesOffset", picks * 16);
  text.constant("kHiddenStride", experts.hiddenStride).constant("kResultStride", resultStride);
  text.scratch("T*" + Twine(experts.bytesPerToken) + "+" + Twine(16 * experts.count));
}

FailureOr<KernelSpec> specializeMoeExperts(DispatchOp dispatch) {
  KernelText text(dispatch, "moe_experts");
  FailureOr<Experts> read = readExperts(text, dispatch);
  if (failed(read)) {
    return failure();
  }
  Experts &experts = *read;
  BufferShape input = text.shape("input"), indices = text.shape("indices"), weights = text.shape("weights");
  BufferShape output = text.shape("output");
  constexpr int64_t kSortThreads = 1024;
  const int64_t width = output.columns, outputVector = vectorOf(width, output.alignment);
  const int64_t addThreads = std::clamp<int64_t>(alignTo(llvm::divideCeil(width, outputVector), 32), 32, 512);
  text.declaration(experts.up.declaration()).declaration(experts.down.declaration());
  text.member("using Up = UpProduct;").member("using Down = DownProduct;").type("Hidden", experts.hidden);
  text.type("Input", input.element);
  text.constant("kExperts", experts.count).constant("kPicks", experts.picks);
  text.constant("kInputStride", input.stride).constant("kIndexStride", indices.stride);
  text.constant("kWeightStride", weights.stride).constant("kOutputStride", output.stride);
  text.constant("kOutputVector", outputVector).constant("kAddThreads", addThreads);
  text.constant("kSortThreads", kSortThreads);
  addScratch(text, experts);

  // struct PickedExperts: two numbers a word of 32 experts, and 4 + 16 bytes an expert that may be picked.
  const int64_t mostPicked = std::min(experts.count, kFewTokens * experts.picks);
  const int64_t sharedOfFew = kSharedBytes - alignTo(8 * llvm::divideCeil(experts.count, 32) + 20 * mostPicked, 1024);
  SmallVector<MatmulTile, 3> up =
      tilesFor(experts.up, {"UpFewTile", "UpSomeTile", "UpManyTile"},
               {"up_few_tokens", "up_some_picks", "up_many_picks"}, experts.picks, sharedOfFew);
  SmallVector<MatmulTile, 3> down = tilesFor(experts.down, {"DownFewTile", "DownSomeTile", "DownManyTile"},
                                             {"down_few_tokens", "down_some_picks", "down_many_picks"}, 1, sharedOfFew);
  for (int i = 0; i < 3; ++i) { // both work on the same tiles of picks
    up[i].rowTiles = down[i].rowTiles = std::min(up[i].rowTiles, down[i].rowTiles);
    text.declaration(up[i].declaration()).declaration(down[i].declaration());
  }

  const int64_t picks = experts.picks, someTokens = std::max(kFewTokens, 32 * experts.count / picks);
  const auto few = [](int64_t size) { return formatv("T<={0} ? {1} : 0", kFewTokens, size).str(); };
  const auto some = [&](int64_t size) {
    return formatv("T>{0} ? (T<={1} ? {2} : 0) : 0", kFewTokens, someTokens, size).str();
  };
  const auto many = [&](int64_t size) { return formatv("T>{0} ? {1} : 0", someTokens, size).str(); };
  const auto tilesOf = [&](const MatmulTile &tile) {
    return formatv("ceil(T*{0}/{1})+{2}", picks, tile.blockRows(), experts.count).str();
  };
  const std::string allPicks = ("T*" + Twine(picks)).str();
  // Codes for more than kFewTokens: a block a row.
  const auto quantize = [&](StringRef function, StringRef body, const QuantizeConfig &config, StringRef rows,
                            ArrayRef<StringRef> arguments) {
    text.declaration(config.declaration()).member("using " + config.name + " = ::" + config.name + ";");
    text.launch(function, (body + "<Config>").str(), {formatv("T>{0} ? {1} : 0", kFewTokens, rows).str()},
                config.threads(), 0, arguments);
  };
  if (experts.up.quantizes()) {
    quantize("quantize_input", "QuantizeInput", experts.up.rowConfig("UpRow", input.alignment),
             experts.up.scaling == "Static" ? allPicks : "T",
             {"input input", "input indices", "weight up_input_scale", "scratch", "step"});
  }
  const auto sort = [&](StringRef function, const std::string &size, const MatmulTile &tile) {
    text.launch(function, ("SortPicks<Config, " + Twine(tile.blockRows()) + ">").str(), {size}, kSortThreads, 0,
                {"input indices", "scratch", "step"});
  };
  sort("sort_some_picks", some(experts.count), up[1]);
  sort("sort_many_picks", many(experts.count), up[2]);

  const auto launch = [&](const MatmulTile &tile, const MatmulShape &shape, StringRef body, ArrayRef<std::string> grid,
                          ArrayRef<StringRef> arguments) {
    text.launch(tile.function, (body + "<Config, " + tile.name + ">").str(), grid, tile.threads(),
                tile.sharedBytes(shape), arguments);
  };
  launch(up[0], shapeOfFew(experts.up), "UpFewTokens", {few(up[0].blocks(experts.up.shape)), allPicks},
         {"input input", "input indices", "weight up", "weight up_scale", "weight up_input_scale",
          "weight down_input_scale", "output hidden_maxima", "scratch", "step"});
  const SmallVector<StringRef> upArguments = {
      "input input", "weight up", "weight up_scale", "weight up_input_scale", "weight down_input_scale",
      "scratch",     "step"};
  launch(up[1], experts.up.shape, "UpPicks", {some(up[1].blocks(experts.up.shape)), tilesOf(up[1])}, upArguments);
  launch(up[2], experts.up.shape, "UpPicks", {many(up[2].blocks(experts.up.shape)), tilesOf(up[2])}, upArguments);
  if (experts.down.quantizes()) {
    quantize("quantize_hidden", "QuantizeHidden", experts.down.rowConfig("DownRow", experts.hiddenStride), allPicks,
             {"scratch", "step"});
  }
  launch(down[0], shapeOfFew(experts.down), "DownFewTokens", {few(down[0].blocks(experts.down.shape))},
         {"input indices", "input weights", "output output", "weight down", "weight down_scale",
          "weight down_input_scale", "output hidden_maxima", "scratch", "step"});
  const SmallVector<StringRef> downArguments = {"weight down", "weight down_scale", "weight down_input_scale",
                                                "scratch", "step"};
  launch(down[1], experts.down.shape, "DownPicks", {some(down[1].blocks(experts.down.shape)), tilesOf(down[1])},
         downArguments);
  launch(down[2], experts.down.shape, "DownPicks", {many(down[2].blocks(experts.down.shape)), tilesOf(down[2])},
         downArguments);
  text.launch("add_picks", "AddPicks<Config>", {formatv("T>{0} ? T : 0", kFewTokens).str()}, addThreads, 0,
              {"input weights", "output output", "scratch", "step"});
  return text.finish(formatv("{0}_{1}of{2}_{3}x{4}", KernelText::cppType(experts.up.weight), picks, experts.count,
                             experts.up.shape.outputs, width)
                         .str());
}

} // namespace nemotron::codegen
