//===- Nvrtc.cpp - NVIDIA's compiler, opened at run time ----------------------------------------------------------===//
#include "codegen/cuda/Nvrtc.h"

#include <cstdlib>
#include <dlfcn.h>
#include <mutex>
#include <nvrtc.h>
#include <vector>

#include <fmt/ranges.h>

using nemotron::runtime::Error;
using nemotron::runtime::Status;
using nemotron::runtime::StatusCode;
using nemotron::runtime::StatusOr;

namespace nemotron::codegen {

struct Nvrtc::Api {
  void *library = nullptr; ///< never closed: NVRTC 13.0 crashes when it is opened a second time
  decltype(&nvrtcVersion) version = nullptr;
  decltype(&nvrtcGetErrorString) getErrorString = nullptr;
  decltype(&nvrtcGetNumSupportedArchs) getNumSupportedArchs = nullptr;
  decltype(&nvrtcGetSupportedArchs) getSupportedArchs = nullptr;
  decltype(&nvrtcCreateProgram) createProgram = nullptr;
  decltype(&nvrtcDestroyProgram) destroyProgram = nullptr;
  decltype(&nvrtcCompileProgram) compileProgram = nullptr;
  decltype(&nvrtcGetProgramLogSize) getProgramLogSize = nullptr;
  decltype(&nvrtcGetProgramLog) getProgramLog = nullptr;
  decltype(&nvrtcGetCUBINSize) getCUBINSize = nullptr;
  decltype(&nvrtcGetCUBIN) getCUBIN = nullptr;
  decltype(&nvrtcGetPTXSize) getPTXSize = nullptr;
  decltype(&nvrtcGetPTX) getPTX = nullptr;

  template <typename Function> Status find(const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function ? Status() : Error(StatusCode::kUnavailable, "libnvrtc has no {}", name);
  }

  Status findAll() {
    RETURN_IF_ERROR(find("nvrtcVersion", version));
    RETURN_IF_ERROR(find("nvrtcGetErrorString", getErrorString));
    RETURN_IF_ERROR(find("nvrtcGetNumSupportedArchs", getNumSupportedArchs));
    RETURN_IF_ERROR(find("nvrtcGetSupportedArchs", getSupportedArchs));
    RETURN_IF_ERROR(find("nvrtcCreateProgram", createProgram));
    RETURN_IF_ERROR(find("nvrtcDestroyProgram", destroyProgram));
    RETURN_IF_ERROR(find("nvrtcCompileProgram", compileProgram));
    RETURN_IF_ERROR(find("nvrtcGetProgramLogSize", getProgramLogSize));
    RETURN_IF_ERROR(find("nvrtcGetProgramLog", getProgramLog));
    RETURN_IF_ERROR(find("nvrtcGetCUBINSize", getCUBINSize));
    RETURN_IF_ERROR(find("nvrtcGetCUBIN", getCUBIN));
    RETURN_IF_ERROR(find("nvrtcGetPTXSize", getPTXSize));
    return find("nvrtcGetPTX", getPTX);
  }

  Status check(nvrtcResult result, const char *call) const {
    return result == NVRTC_SUCCESS ? Status()
                                   : Error(StatusCode::kInternal, "{} failed: {}", call, getErrorString(result));
  }

  /// A text or image of a program, whose size one function gives and whose bytes another.
  template <typename Size, typename Get>
  StatusOr<std::string> read(nvrtcProgram program, Size size, Get get, const char *call) const {
    size_t bytes = 0;
    RETURN_IF_ERROR(check(size(program, &bytes), call));
    std::string text(bytes, '\0');
    if (bytes > 0) {
      RETURN_IF_ERROR(check(get(program, text.data()), call));
    }
    return text;
  }
};

Nvrtc::Nvrtc() : api(std::make_unique<Api>()) {}
Nvrtc::~Nvrtc() = default;

StatusOr<std::shared_ptr<const Nvrtc>> Nvrtc::open() {
  std::vector<std::string> paths = {"libnvrtc.so.13", NEMOTRON_NVRTC_DIR "/libnvrtc.so.13"};
  if (const char *path = std::getenv("NEMOTRON_NVRTC")) {
    paths = {path};
  }
  std::shared_ptr<Nvrtc> nvrtc(new Nvrtc);
  for (const std::string &path : paths) {
    nvrtc->api->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (nvrtc->api->library) {
      break;
    }
  }
  if (!nvrtc->api->library) {
    return Error(
        StatusCode::kUnavailable,
        "no NVRTC of CUDA 13 to compile kernels with (tried {}); set NEMOTRON_NVRTC to the path of libnvrtc.so.13",
        fmt::join(paths, ", "));
  }
  RETURN_IF_ERROR(nvrtc->api->findAll());
  int major = 0, minor = 0;
  RETURN_IF_ERROR(nvrtc->api->check(nvrtc->api->version(&major, &minor), "nvrtcVersion"));
  if (major != 13) {
    return Error(StatusCode::kFailedPrecondition, "NVRTC is of version {}.{}, expected 13", major, minor);
  }
  nvrtc->versionText = fmt::format("{}.{}", major, minor);
  return std::shared_ptr<const Nvrtc>(std::move(nvrtc));
}

bool Nvrtc::supports(const std::string &architecture) const {
  int count = 0;
  std::vector<int> numbers;
  if (api->getNumSupportedArchs(&count) == NVRTC_SUCCESS && count > 0) {
    numbers.resize(count);
    api->getSupportedArchs(numbers.data());
  }
  for (int number : numbers) {
    const std::string base = fmt::format("sm_{}", number);
    // Features of one chip ("a") begin with sm_90.
    if (architecture == base || (number >= 90 && architecture == base + "a")) {
      return true;
    }
  }
  return false;
}

StatusOr<CompiledSource> Nvrtc::compile(const std::string &source, const std::string &name,
                                        const std::string &architecture) const {
  nvrtcProgram program = nullptr;
  RETURN_IF_ERROR(api->check(api->createProgram(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr),
                             "nvrtcCreateProgram"));
  struct Destroy {
    const Api &api;
    nvrtcProgram program;
    ~Destroy() { api.destroyProgram(&program); }
  } destroy{*api, program};
  const std::string target = "--gpu-architecture=" + architecture;

  const char *options[] = {target.c_str(), "--std=c++17"};
  const nvrtcResult result = api->compileProgram(program, std::size(options), options);
  ASSIGN_OR_RETURN(std::string log,
                   api->read(program, api->getProgramLogSize, api->getProgramLog, "nvrtcGetProgramLog"));
  if (result == NVRTC_ERROR_COMPILATION) {
    return runtime::InvalidArgument("kernel '{}' does not compile for {}:\n{}", name, architecture, log.c_str());
  }
  RETURN_IF_ERROR(api->check(result, "nvrtcCompileProgram"));
  CompiledSource compiled;
  ASSIGN_OR_RETURN(compiled.cubin, api->read(program, api->getCUBINSize, api->getCUBIN, "nvrtcGetCUBIN"));
  ASSIGN_OR_RETURN(compiled.ptx, api->read(program, api->getPTXSize, api->getPTX, "nvrtcGetPTX"));
  return compiled;
}

} // namespace nemotron::codegen
