//===- KernelCompiler.cpp - from the kernels of a plan to machine code
//---------------------------------------------===//
#include "codegen/cuda/KernelCompiler.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>
#include <tuple>

#include <xxhash.h>

#include "runtime/base/file_writer.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using nemotron::runtime::Status;
using nemotron::runtime::StatusOr;

namespace nemotron::codegen {

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

/// Files of codegen/cuda/kernels by name, and those of runtime/plan that kernels share with the runtime.
static const llvm::StringMap<StringRef> &sources() {
  static const llvm::StringMap<StringRef> files = {
#include "codegen/KernelSources.inc"
  };
  return files;
}

/// Appends the text of a file, and in place of the lines in it that include others theirs, so that a source stands
/// alone. A file is there once, where it is wanted first.
static void appendFile(StringRef name, llvm::StringSet<> &present, std::string &source) {
  if (!present.insert(name).second) {
    return;
  }
  for (StringRef text = sources().lookup(name), line; !text.empty();) {
    std::tie(line, text) = text.split('\n');
    StringRef included = line;
    if (included.consume_front("#include \"codegen/cuda/kernels/") && included.consume_back(".cuh\"")) {
      appendFile(included, present, source);
    } else {
      source += (line + "\n").str();
    }
  }
  source += "\n";
}

FailureOr<std::string> kernelSource(plan::KernelOp kernel) {
  if (!sources().contains(kernel.getBody())) {
    return kernel.emitOpError() << "has body '" << kernel.getBody() << "', which target cuda does not have";
  }
  std::string source = ("// Kernel " + kernel.getName() + "\n").str();
  llvm::StringSet<> present;
  for (StringRef name : {StringRef("step_tables"), StringRef("sampling"), StringRef("common"), StringRef("row"),
                         StringRef("tensor_core"), StringRef("matmul_slabs"), kernel.getBody()}) {
    appendFile(name, present, source);
  }
  return source + kernel.getConfig().str();
}

//===----------------------------------------------------------------------===//
// The cache
//===----------------------------------------------------------------------===//

namespace {

/// Compiled kernels as two files, named by a hash of all that they depend on. It is never wrong to lose it: what cannot
/// be read is compiled, what cannot be written is not kept.
class Cache {
public:
  Cache(const Nvrtc &nvrtc, std::string directory) : nvrtc(nvrtc), directory(std::move(directory)) {}

  StatusOr<CompiledSource> compile(const std::string &source, const std::string &name,
                                   const std::string &architecture) const {
    if (directory.empty()) {
      return nvrtc.compile(source, name, architecture);
    }
    const std::string key = nvrtc.version() + '\0' + architecture + '\0' + source;
    const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
    const std::string path = fmt::format("{}/{:016x}{:016x}", directory, hash.high64, hash.low64);
    CompiledSource cached{read(path + ".cubin"), read(path + ".ptx")};
    if (!cached.cubin.empty() && !cached.ptx.empty()) {
      return cached;
    }
    ASSIGN_OR_RETURN(CompiledSource compiled, nvrtc.compile(source, name, architecture));
    std::error_code ignored;
    std::filesystem::create_directories(directory, ignored);
    for (auto [ending, text] : {std::pair(".cubin", &compiled.cubin), std::pair(".ptx", &compiled.ptx)}) {
      Status written = runtime::WriteTextFile(path + ending, *text);
      (void)written.ok();
    }
    return compiled;
  }

private:
  static std::string read(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  const Nvrtc &nvrtc;
  std::string directory;
};

/// One kernel for one architecture.
struct Job {
  plan::KernelOp op;
  const std::string *source;
  KernelImage image;
  Status status;
};

} // namespace

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

static LogicalResult dump(plan::KernelOp kernel, const std::string &source, const std::string &directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  Status status = error ? runtime::Error(runtime::StatusCode::kFailedPrecondition, "{}", error.message())
                        : runtime::WriteTextFile(directory + "/" + kernel.getName().str() + ".cu", source);
  return status.ok() ? success()
                     : kernel.emitOpError() << "cannot be written to '" << directory << "': " << status.message();
}

static void runJobs(std::vector<Job> &jobs, const Cache &cache, const KernelCompilerOptions &options) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  int64_t done = 0;
  auto work = [&] {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      if (options.cancelled && options.cancelled->load(std::memory_order_relaxed)) {
        return;
      }
      Job &job = jobs[i];
      StatusOr<CompiledSource> code = cache.compile(*job.source, job.image.kernel, job.image.architecture);
      if (code.ok()) {
        job.image.code = std::move(*code);
      } else {
        job.status = code.status();
      }
      std::lock_guard lock(mutex);
      ++done;
      if (options.progress) {
        options.progress(done, static_cast<int64_t>(jobs.size()));
      }
    }
  };
  const unsigned wanted =
      options.numThreads > 0 ? options.numThreads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::min<size_t>(wanted, jobs.size()); ++i) {
    threads.emplace_back(work);
  }
  work();
  for (std::thread &thread : threads) {
    thread.join();
  }
}

FailureOr<std::vector<KernelImage>> compileKernels(ModuleOp module, const KernelCompilerOptions &options) {
  std::vector<std::string> texts;
  std::vector<plan::KernelOp> kernels;
  for (auto kernel : module.getOps<plan::KernelOp>()) {
    FailureOr<std::string> source = kernelSource(kernel);
    if (failed(source) || (!options.dumpDirectory.empty() && failed(dump(kernel, *source, options.dumpDirectory)))) {
      return failure();
    }
    kernels.push_back(kernel);
    texts.push_back(std::move(*source));
  }
  std::vector<KernelImage> images;
  if (kernels.empty()) {
    return images;
  }
  StatusOr<std::shared_ptr<const Nvrtc>> nvrtc = Nvrtc::open();
  if (!nvrtc.ok()) {
    return emitError(module.getLoc()) << nvrtc.status().message();
  }
  std::vector<Job> jobs;
  for (size_t i = 0; i < kernels.size(); ++i) {
    for (const std::string &architecture : options.architectures) {
      if (!(*nvrtc)->supports(architecture)) {
        return emitError(module.getLoc())
               << "NVRTC " << (*nvrtc)->version() << " does not compile for " << architecture;
      }
      jobs.push_back({kernels[i], &texts[i], {kernels[i].getName().str(), architecture, {}}, {}});
    }
  }
  runJobs(jobs, Cache(**nvrtc, options.cacheDirectory), options);
  if (options.cancelled && options.cancelled->load()) {
    return failure();
  }
  for (Job &job : jobs) {
    if (!job.status.ok()) {
      return job.op.emitOpError() << job.status.message();
    }
    images.push_back(std::move(job.image));
  }
  return images;
}

} // namespace nemotron::codegen
