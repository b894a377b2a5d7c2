//===- PlanFileWriter.cpp - from the plan dialect to a plan file --------------------------------------------------===//
#include "codegen/PlanFileWriter.h"

#include <algorithm>
#include <thread>

#include "codegen/BlockPipeline.h"
#include "codegen/PlanMetadata.h"
#include "codegen/WeightExpression.h"
#include "runtime/plan/weight_size.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using nemotron::runtime::DType;
using nemotron::runtime::Status;

namespace nemotron::codegen {
namespace {

/// What a block aims to hold. Large enough that locks and system calls do not matter, small enough that a ring of
/// blocks fits the last-level cache of a server.
constexpr int64_t kBlockBytes = 2 << 20;

/// A weight that is ready to be read: nothing about it can fail but files.
struct Job {
  plan::WeightOp op;
  WeightExpression expression;
  schema::WeightT *weight;
  int64_t bytes; ///< in the file
};

class Writer {
public:
  Writer(ir::WeightSource &source, const PlanFileOptions &options) : source(source), options(options) {}

  FailureOr<PlanFileSummary> write(ModuleOp module, const ir::ModelInfo &info) {
    FailureOr<schema::PlanT> plan = buildMetadata(module, info, options.dtype);
    if (failed(plan) || failed(makeJobs(module, *plan))) {
      return failure();
    }
    if (options.cpuModule && failed(addCpuProgram(*plan, module, options.cpuModule))) {
      return failure();
    }
    FailureOr<std::vector<KernelImage>> images = compileKernels(module, options.kernels);
    if (failed(images)) {
      return failure();
    }
    auto fail = [&](const Status &status) -> LogicalResult {
      return emitError(module.getLoc()) << "cannot write a plan to '" << options.path << "': " << status.message();
    };
    auto writer = runtime::PlanWriter::Create(options.path);
    if (!writer.ok()) {
      return fail(writer.status());
    }
    std::vector<schema::Segment> segments(jobs.size());
    Status written;
    if (failed(writeWeights(*writer, segments, written))) {
      return failure();
    }
    if (written.ok()) {
      written = writeImages(*writer, *plan, *images);
    }
    if (written.ok()) {
      written = writeRest(*writer, *plan, segments, info);
    }
    if (!written.ok()) {
      return fail(written);
    }
    return summarize(*plan, writer->size_bytes());
  }

private:
  LogicalResult makeJobs(ModuleOp module, schema::PlanT &plan) {
    SymbolTable symbols(module);
    const llvm::StringSet<> scaleNames = findScales(module);
    for (auto [op, weight] : llvm::zip_equal(module.getOps<plan::WeightOp>(), plan.weights)) {
      FailureOr<WeightExpression> expression = WeightExpression::create(op, source, symbols, scales);
      if (failed(expression)) {
        return failure();
      }
      auto bytes = runtime::WeightBytes(static_cast<DType>(weight->dtype), weight->layout, weight->shape);
      if (!bytes.ok()) {
        return op.emitOpError() << "cannot be stored: " << bytes.status().message();
      }
      if (scaleNames.contains(op.getSymName())) {
        expression->expectScales();
      }
      for (const std::string &tensor : expression->tensors()) {
        ++uses[tensor];
      }
      totalBytes += *bytes;
      jobs.push_back({op, std::move(*expression), weight.get(), *bytes});
    }
    return success();
  }

  /// The weights that a kernel takes as scales.
  static llvm::StringSet<> findScales(ModuleOp module) {
    llvm::StringSet<> names;
    module.walk([&](plan::DispatchOp dispatch) {
      for (NamedAttribute weight : dispatch.getWeights()) {
        if (weight.getName().strref().ends_with("_scale")) {
          names.insert(cast<FlatSymbolRefAttr>(weight.getValue()).getValue());
        }
      }
    });
    return names;
  }

  /// Errors of the source are emitted; those of the file are left in `written`.
  LogicalResult writeWeights(runtime::PlanWriter &writer, std::vector<schema::Segment> &segments, Status &written) {
    unsigned numThreads = options.numThreads;
    if (numThreads == 0) {
      numThreads = std::clamp(std::thread::hardware_concurrency(), 2u, 8u);
    }
    BlockPipeline pipeline(writer, numThreads);
    for (auto [job, segment] : llvm::zip_equal(jobs, segments)) {
      Status read = readWeight(pipeline, job, segment);
      if (read.code() == runtime::StatusCode::kCancelled) {
        break; // by the user, or because the writer failed
      }
      if (!read.ok()) {
        return emitError(job.op.getLoc()) << "cannot make weight '" << job.weight->name << "': " << read.message();
      }
      release(job);
    }
    if (isCancelled()) {
      return failure();
    }
    written = pipeline.finish();
    report(pipeline);
    return success();
  }

  bool isCancelled() const { return options.cancelled && options.cancelled->load(std::memory_order_relaxed); }

  void report(const BlockPipeline &pipeline) const {
    if (options.progress) {
      options.progress(pipeline.bytesWritten(), totalBytes);
    }
  }

  Status readWeight(BlockPipeline &pipeline, Job &job, schema::Segment &segment) {
    const bool isPacked = job.weight->layout != schema::Layout::RowMajor;
    return isPacked ? readPanels(pipeline, job, segment) : readRows(pipeline, job, segment);
  }

  /// A free block for elements [first, first + count), filled with them.
  runtime::StatusOr<Block *> readBlock(BlockPipeline &pipeline, Job &job, int64_t first, int64_t count) {
    report(pipeline);
    Block *block = isCancelled() ? nullptr : pipeline.acquire();
    if (!block) {
      return Status(runtime::StatusCode::kCancelled, "cancelled");
    }
    block->from = job.expression.dtype();
    block->to = static_cast<DType>(job.weight->dtype);
    block->numElements = count;
    block->panels.reset();
    block->scales.reset();
    std::byte *input = block->reserveInput(count * runtime::SizeOf(block->from));
    RETURN_IF_ERROR(job.expression.read(first, count, input));
    if (job.expression.isQuantized()) {
      ASSIGN_OR_RETURN(block->scales, job.expression.readScales(first, count));
    }
    return block;
  }

  void submit(BlockPipeline &pipeline, Block *block, bool isFirst, schema::Segment *endsSegment) {
    block->beginsSegment = isFirst;
    block->endsSegment = endsSegment;
    pipeline.submit(block);
  }

  Status readRows(BlockPipeline &pipeline, Job &job, schema::Segment &segment) {
    const int64_t total = job.expression.numElements(), step = kBlockBytes / runtime::SizeOf(job.expression.dtype());
    for (int64_t first = 0; first < total; first += step) {
      const int64_t count = std::min(step, total - first);
      ASSIGN_OR_RETURN(Block * block, readBlock(pipeline, job, first, count));
      submit(pipeline, block, first == 0, first + count == total ? &segment : nullptr);
    }
    return runtime::OkStatus();
  }

  Status readPanels(BlockPipeline &pipeline, Job &job, schema::Segment &segment) {
    ArrayRef<int64_t> shape = job.weight->shape;
    const DType from = job.expression.dtype(), to = static_cast<DType>(job.weight->dtype);
    PanelRun run{
        job.weight->layout, job.expression.isQuantized() ? to : from, to, shape[shape.size() - 2], shape.back(), 0, 1};
    const int64_t matrices = shape.size() == 3 ? shape[0] : 1, total = matrices * run.panelsPerMatrix();
    const int64_t largest = std::max({int64_t{1}, run.outputBytes(), run.numElements() * runtime::SizeOf(from)});
    const int64_t step = std::max<int64_t>(1, kBlockBytes / largest);
    for (; run.first < total; run.first += step) {
      run.count = std::min(step, total - run.first);
      ASSIGN_OR_RETURN(Block * block, readBlock(pipeline, job, run.elementOf(run.first), run.numElements()));
      block->panels = run;
      submit(pipeline, block, run.first == 0, run.first + run.count == total ? &segment : nullptr);
    }
    return runtime::OkStatus();
  }

  /// The weight was read: its tensors can go, if no later weight is made of them, and so can what was kept of
  /// transposes and scales.
  void release(Job &job) {
    for (const std::string &tensor : job.expression.tensors()) {
      if (--uses[tensor] == 0) {
        source.release(tensor);
      }
    }
    job.expression.forget();
  }

  /// Cubin and PTX of each kernel and architecture, as segments.
  Status writeImages(runtime::PlanWriter &writer, schema::PlanT &plan, const std::vector<KernelImage> &images) {
    llvm::StringMap<schema::KernelT *> kernels;
    for (auto &kernel : plan.program->kernels) {
      kernels[kernel->name] = kernel.get();
    }
    for (const KernelImage &image : images) {
      schema::KernelT *kernel = kernels.lookup(image.kernel);
      if (!kernel) {
        continue; // no dispatch names it
      }
      for (auto [kind, code] : {std::pair(schema::ImageKind::Cubin, &image.code.cubin),
                                std::pair(schema::ImageKind::Ptx, &image.code.ptx)}) {
        RETURN_IF_ERROR(writer.BeginSegment());
        RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(*code))));
        ASSIGN_OR_RETURN(schema::Segment segment, writer.EndSegment());
        auto entry = std::make_unique<schema::ImageT>();
        entry->architecture = image.architecture;
        entry->kind = kind;
        entry->data = std::make_unique<schema::Segment>(segment);
        kernel->images.push_back(std::move(entry));
        kernelBytes += static_cast<int64_t>(code->size());
      }
    }
    return runtime::OkStatus();
  }

  Status writeRest(runtime::PlanWriter &writer, schema::PlanT &plan, const std::vector<schema::Segment> &segments,
                   const ir::ModelInfo &info) {
    for (auto [job, segment] : llvm::zip_equal(jobs, segments)) {
      job.weight->segment = std::make_unique<schema::Segment>(segment);
    }
    if (!info.tokenizerKind.empty()) {
      RETURN_IF_ERROR(writer.BeginSegment());
      RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(info.tokenizerData))));
      ASSIGN_OR_RETURN(schema::Segment segment, writer.EndSegment());
      plan.tokenizer = std::make_unique<schema::TokenizerT>();
      plan.tokenizer->kind = info.tokenizerKind;
      plan.tokenizer->data = std::make_unique<schema::Segment>(segment);
      plan.tokenizer->add_bos = info.addBos;
      plan.tokenizer->add_eos = info.addEos;
    }
    plan.provenance = std::make_unique<schema::ProvenanceT>();
    plan.provenance->compiler_version = options.compilerVersion;
    plan.provenance->pipeline = options.pipeline;
    plan.provenance->checkpoint = info.name;
    plan.provenance->checkpoint_hash = info.checkpointHash;
    return writer.Finish(plan);
  }

  PlanFileSummary summarize(const schema::PlanT &plan, int64_t fileBytes) const {
    PlanFileSummary summary;
    summary.numWeights = jobs.size();
    summary.weightBytes = totalBytes;
    summary.fileBytes = fileBytes;
    summary.numKernels = plan.target == "cpu" ? 0 : plan.program->kernels.size();
    summary.kernelBytes = kernelBytes;
    summary.tokenBytes = plan.program->token_arena_bytes;
    summary.tokenBytesWithoutReuse = plan.program->token_bytes_without_reuse;
    summary.rowBytes = plan.program->row_arena_bytes;
    summary.rowBytesWithoutReuse = plan.program->row_bytes_without_reuse;
    summary.slotBytes = plan.slot_bytes;
    summary.kvBytesPerToken = plan.kv_bytes_per_token;
    return summary;
  }

  ir::WeightSource &source;
  const PlanFileOptions &options;
  std::vector<Job> jobs;
  SharedScales scales;
  llvm::StringMap<int64_t> uses; ///< weights that are still to be made of a tensor
  int64_t totalBytes = 0, kernelBytes = 0;
};

} // namespace

FailureOr<PlanFileSummary> writePlanFile(ModuleOp module, ir::WeightSource &source, const ir::ModelInfo &info,
                                         const PlanFileOptions &options) {
  return Writer(source, options).write(module, info);
}

} // namespace nemotron::codegen
