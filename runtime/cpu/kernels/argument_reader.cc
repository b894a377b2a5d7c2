#include "runtime/cpu/kernels/argument_reader.h"

#include <algorithm>
#include <cmath>

namespace nemotron::runtime::cpu {
namespace {

constexpr std::string_view LayoutName(Layout layout) { return layout == Layout::kPanel ? "panel" : "row major"; }

constexpr std::string_view StateKindName(StateKind kind) {
  constexpr std::string_view kNames[] = {"kv_cache", "conv", "ssm", "recent"};
  return kNames[static_cast<size_t>(kind)];
}

bool Matches(const std::vector<int64_t>& found, const std::vector<int64_t>& expected) {
  bool matches = found.size() == expected.size();
  for (size_t i = 0; matches && i < found.size(); ++i) {
    matches = expected[i] == -1 ? found[i] > 0 : found[i] == expected[i];
  }
  return matches;
}

/// "f32, bf16 or f8e4m3".
std::string ListText(std::initializer_list<DType> dtypes) {
  std::string text;
  for (const DType* dtype = dtypes.begin(); dtype != dtypes.end(); ++dtype) {
    text += dtype == dtypes.begin() ? "" : dtype + 1 == dtypes.end() ? " or " : ", ";
    text += DTypeName(*dtype);
  }
  return text;
}

}  // namespace

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + (shape[i] == -1 ? "any" : std::to_string(shape[i]));
  }
  return text + "]";
}

void ArgumentReader::Fail(const std::string& message) {
  if (status_.ok()) {
    status_ = InvalidArgument("{}: {}", kernel_, message);
  }
}

BufferArgument ArgumentReader::Buffer(std::string_view kind,
                                      const std::map<std::string, BufferArgument, std::less<>>& buffers,
                                      std::string_view name, int64_t columns, std::initializer_list<DType> dtypes) {
  const auto found = buffers.find(name);
  used_.emplace(name);
  if (found == buffers.end()) {
    Fail(fmt::format("{} '{}' is missing", kind, name));
    return {*dtypes.begin(), Space::kToken, 0, 0, 0};
  }
  const BufferArgument& buffer = found->second;
  if (std::find(dtypes.begin(), dtypes.end(), buffer.dtype) == dtypes.end()) {
    Fail(fmt::format("{} '{}' is {}, expected {}", kind, name, DTypeName(buffer.dtype), ListText(dtypes)));
  }
  if (columns != -1 && buffer.columns != columns) {
    Fail(fmt::format("{} '{}' has {} columns, expected {}", kind, name, buffer.columns, columns));
  }
  if (buffer.columns <= 0 || buffer.row_bytes < buffer.columns * SizeOf(buffer.dtype) ||
      buffer.row_bytes % SizeOf(buffer.dtype) != 0) {
    Fail(fmt::format("{} '{}' has {} columns in rows of {} bytes", kind, name, buffer.columns, buffer.row_bytes));
  }
  return buffer;
}

BufferArgument ArgumentReader::Input(std::string_view name, int64_t columns, std::initializer_list<DType> dtypes) {
  return Buffer("input", arguments_.inputs, name, columns, dtypes);
}
BufferArgument ArgumentReader::Output(std::string_view name, int64_t columns, std::initializer_list<DType> dtypes) {
  return Buffer("output", arguments_.outputs, name, columns, dtypes);
}

WeightArgument ArgumentReader::Weight(std::string_view name, std::vector<int64_t> shape, Layout layout,
                                      std::initializer_list<DType> dtypes) {
  const auto found = arguments_.weights.find(name);
  used_.emplace(name);
  if (found == arguments_.weights.end()) {
    Fail(fmt::format("weight '{}' is missing", name));
    return {*dtypes.begin(), layout, std::vector<int64_t>(shape.size(), 1), {}};
  }
  const WeightArgument& weight = found->second;
  if (!Matches(weight.shape, shape)) {
    Fail(fmt::format("weight '{}' is {}, expected {}", name, ShapeText(weight.shape), ShapeText(shape)));
    return {*dtypes.begin(), layout, std::vector<int64_t>(shape.size(), 1), {}};
  }
  if (std::find(dtypes.begin(), dtypes.end(), weight.dtype) == dtypes.end()) {
    Fail(fmt::format("weight '{}' is {}, expected {}", name, DTypeName(weight.dtype), ListText(dtypes)));
  }
  if (weight.layout != layout) {
    Fail(fmt::format("weight '{}' has layout {}, expected {}", name, LayoutName(weight.layout), LayoutName(layout)));
  }
  return weight;
}

const float* ArgumentReader::Vector(std::string_view name, int64_t size) {
  return reinterpret_cast<const float*>(Weight(name, {size}).data.data());
}
const float* ArgumentReader::OptionalVector(std::string_view name, int64_t size) {
  return HasWeight(name) ? Vector(name, size) : nullptr;
}

StateArgument ArgumentReader::State(std::string_view name, StateKind kind, std::vector<int64_t> shape,
                                    std::initializer_list<DType> dtypes) {
  const auto found = arguments_.states.find(name);
  used_.emplace(name);
  if (found == arguments_.states.end()) {
    Fail(fmt::format("state '{}' is missing", name));
    return {kind, DType::kF32, shape, 0};
  }
  const StateArgument& state = found->second;
  if (state.kind != kind) {
    Fail(fmt::format("state '{}' is a {}, expected a {}", name, StateKindName(state.kind), StateKindName(kind)));
  } else if (!Matches(state.shape, shape)) {
    Fail(fmt::format("state '{}' is {}, expected {}", name, ShapeText(state.shape), ShapeText(shape)));
  }
  if (std::find(dtypes.begin(), dtypes.end(), state.dtype) == dtypes.end()) {
    Fail(fmt::format("state '{}' is {}, expected {}", name, DTypeName(state.dtype), ListText(dtypes)));
  }
  return state;
}

template <typename T>
T ArgumentReader::Parameter(std::string_view name, std::string_view type) {
  const auto found = arguments_.parameters.find(name);
  used_.emplace(name);
  if (found == arguments_.parameters.end()) {
    Fail(fmt::format("parameter '{}' is missing", name));
    return T{};
  }
  if (const T* value = std::get_if<T>(&found->second)) {
    return *value;
  }
  Fail(fmt::format("parameter '{}' is not {}", name, type));
  return T{};
}

int64_t ArgumentReader::Size(std::string_view name) {
  const auto value = Parameter<int64_t>(name, "an integer");
  if (value < 1 || value > int64_t{1} << 31) {
    Fail(fmt::format("parameter '{}' is {}, expected 1 to 2^31", name, value));
    return 1;
  }
  return value;
}

double ArgumentReader::Float(std::string_view name) {
  const auto value = Parameter<double>(name, "a float");
  Check(!std::isnan(value), "parameter '{}' is NaN", name);
  return value;
}
bool ArgumentReader::Bool(std::string_view name) { return Parameter<bool>(name, "a bool"); }
std::string ArgumentReader::String(std::string_view name) { return Parameter<std::string>(name, "a string"); }

bool ArgumentReader::IsRelu2() {
  const std::string activation = String("activation");
  Check(activation == "none" || activation == "relu2", "activation is '{}', expected none or relu2", activation);
  return activation == "relu2";
}

Status ArgumentReader::Finish() {
  const auto surplus = [&](std::string_view kind, const auto& arguments) {
    for (const auto& [name, value] : arguments) {
      if (!used_.contains(name)) {
        Fail(fmt::format("has no {} '{}'", kind, name));
      }
    }
  };
  surplus("input", arguments_.inputs);
  surplus("output", arguments_.outputs);
  surplus("weight", arguments_.weights);
  surplus("state", arguments_.states);
  surplus("parameter", arguments_.parameters);
  return status_;
}

}  // namespace nemotron::runtime::cpu
