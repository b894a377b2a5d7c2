//===- WeightElements.cpp - computes elements of a weight, range by range -----------------------------------------===//
#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "codegen/WeightExpression.h"

using nemotron::runtime::DType;
using nemotron::runtime::Status;
using nemotron::runtime::StatusOr;

namespace nemotron::codegen {

/// Elements that are converted or transposed at once, between buffers of a few hundred KiB.
static constexpr int64_t kChunkElements = 1 << 16;

Status WeightExpression::read(int64_t first, int64_t count, std::byte *output) {
  RETURN_IF_ERROR(read(root, first, count, output));
  if (areScales) {
    return checkScales(root, first, count, output);
  }
  return isQuantized() ? checkFinite(root, first, count, output) : runtime::OkStatus();
}

StatusOr<RunScales> WeightExpression::readScales(int64_t first, int64_t count) {
  return readScales(*scaleRoot, scaleGroup, first, count);
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

Status WeightExpression::read(size_t index, int64_t first, int64_t count, std::byte *output) {
  Node &node = nodes[index];
  const int64_t size = runtime::SizeOf(node.dtype);
  switch (node.kind) {
  case Kind::Tensor:
    RETURN_IF_ERROR(source->read(names[node.name], first * size, std::span(output, count * size)));
    return node.dtype == DType::kF8E4M3 ? checkFinite(index, first, count, output) : runtime::OkStatus();
  case Kind::Cast:
  case Kind::Quantize:
  case Kind::Dequantize:
    return readConverted(node, first, count, output);
  case Kind::Join:
    return readJoin(node, first, count, output);
  case Kind::Slice:
    return read(node.inputs[0], node.offset + first, count, output);
  case Kind::Transpose:
    RETURN_IF_ERROR(transpose(node));
    std::memcpy(output, node.data.data() + first * size, count * size);
    return runtime::OkStatus();
  case Kind::Absmax:
    RETURN_IF_ERROR(computeScales(node));
    std::memcpy(output, node.scales->data() + first, count * size);
    return runtime::OkStatus();
  case Kind::Broadcast:
    return readBroadcast(node, first, count, output);
  case Kind::Fill:
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(output + i * size, &node.value, size);
    }
    return runtime::OkStatus();
  }
  return runtime::OkStatus();
}

/// Calls `function(done, part, chunk)` with the elements of `input`, `part` of them at a time.
template <typename Function>
Status WeightExpression::forChunks(size_t input, int64_t first, int64_t count, Function function) {
  std::vector<std::byte> chunk(std::min(count, kChunkElements) * runtime::SizeOf(nodes[input].dtype));
  for (int64_t done = 0; done < count; done += kChunkElements) {
    const int64_t part = std::min(kChunkElements, count - done);
    RETURN_IF_ERROR(read(input, first + done, part, chunk.data()));
    RETURN_IF_ERROR(function(done, part, chunk.data()));
  }
  return runtime::OkStatus();
}

Status WeightExpression::readConverted(const Node &node, int64_t first, int64_t count, std::byte *output) {
  const size_t input = node.inputs[0];
  return forChunks(input, first, count, [&](int64_t done, int64_t part, const std::byte *chunk) -> Status {
    std::byte *to = output + done * runtime::SizeOf(node.dtype);
    if (node.kind == Kind::Cast) {
      convertElements(nodes[input].dtype, chunk, node.dtype, to, part);
      return runtime::OkStatus();
    }
    ASSIGN_OR_RETURN(const RunScales scales, readScales(node.inputs[1], node.group, first + done, part));
    if (node.kind == Kind::Dequantize) {
      dequantizeElements(chunk, scales, to, part);
      return runtime::OkStatus();
    }
    RETURN_IF_ERROR(checkFinite(input, first + done, part, chunk));
    quantizeElements(nodes[input].dtype, chunk, scales, node.dtype, to, part);
    return runtime::OkStatus();
  });
}

Status WeightExpression::readJoin(const Node &node, int64_t first, int64_t count, std::byte *output) {
  size_t input = llvm::upper_bound(node.starts, first) - node.starts.begin() - 1;
  while (count > 0) {
    const int64_t offset = first - node.starts[input];
    const int64_t elements = std::min(count, nodes[node.inputs[input]].numElements - offset);
    if (elements > 0) { // inputs may be empty
      RETURN_IF_ERROR(read(node.inputs[input], offset, elements, output));
    }
    output += elements * runtime::SizeOf(node.dtype);
    first += elements;
    count -= elements;
    ++input;
  }
  return runtime::OkStatus();
}

Status WeightExpression::readBroadcast(const Node &node, int64_t first, int64_t count, std::byte *output) {
  if (count == 0) {
    return runtime::OkStatus();
  }
  const int64_t size = runtime::SizeOf(node.dtype), begin = first / node.group;
  std::vector<std::byte> input(((first + count - 1) / node.group - begin + 1) * size);
  RETURN_IF_ERROR(read(node.inputs[0], begin, static_cast<int64_t>(input.size()) / size, input.data()));
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(output + i * size, input.data() + ((first + i) / node.group - begin) * size, size);
  }
  return runtime::OkStatus();
}

template <typename T>
static void scatterRows(const std::byte *input, int64_t firstRow, int64_t numRows, int64_t rows, int64_t columns,
                        std::byte *output) {
  for (int64_t row = 0; row < numRows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      std::memcpy(output + (column * rows + firstRow + row) * sizeof(T), input + (row * columns + column) * sizeof(T),
                  sizeof(T));
    }
  }
}

Status WeightExpression::transpose(Node &node) {
  if (!node.data.empty() || node.numElements == 0) {
    return runtime::OkStatus();
  }
  const int64_t size = runtime::SizeOf(node.dtype);
  const int64_t chunkRows = std::max<int64_t>(1, kChunkElements / node.columns);
  std::vector<std::byte> data(node.numElements * size);
  std::vector<std::byte> chunk(std::min(chunkRows, node.rows) * node.columns * size);
  for (int64_t row = 0; row < node.rows; row += chunkRows) {
    const int64_t numRows = std::min(chunkRows, node.rows - row);
    RETURN_IF_ERROR(read(node.inputs[0], row * node.columns, numRows * node.columns, chunk.data()));
    const auto scatter = size == 4 ? scatterRows<uint32_t> : size == 2 ? scatterRows<uint16_t> : scatterRows<uint8_t>;
    scatter(chunk.data(), row, numRows, node.rows, node.columns, data.data());
  }
  node.data = std::move(data);
  return runtime::OkStatus();
}

//===----------------------------------------------------------------------===//
// Scales
//===----------------------------------------------------------------------===//

Status WeightExpression::computeScales(Node &node) {
  if (!node.scales) {
    node.scales = std::make_shared<std::vector<float>>();
  }
  if (!node.scales->empty()) {
    return runtime::OkStatus();
  }
  const size_t input = node.inputs[0];
  const DType dtype = nodes[input].dtype;
  std::vector<float> maxima(node.numElements, 0.0f);
  RETURN_IF_ERROR(
      forChunks(input, 0, nodes[input].numElements, [&](int64_t done, int64_t part, const std::byte *chunk) {
        for (int64_t i = 0; i < part;) {
          const int64_t at = done + i, inGroup = std::min(part - i, node.group - at % node.group);
          float &maximum = maxima[at / node.group];
          maximum = std::max(maximum, absoluteMaximum(dtype, chunk + i * runtime::SizeOf(dtype), inGroup));
          i += inGroup;
        }
        return checkFinite(input, done, part, chunk);
      }));
  llvm::transform(maxima, maxima.begin(), [&](float maximum) { return runtime::ScaleOf(maximum, node.value); });
  *node.scales = std::move(maxima);
  return runtime::OkStatus();
}

StatusOr<RunScales> WeightExpression::readScales(size_t node, int64_t group, int64_t first, int64_t count) {
  RunScales run{{}, first % group, group};
  const int64_t begin = first / group, end = (first + count + group - 1) / group;
  run.scales.resize(end - begin);
  auto *bytes = reinterpret_cast<std::byte *>(run.scales.data());
  RETURN_IF_ERROR(read(node, begin, end - begin, bytes));
  RETURN_IF_ERROR(checkScales(node, begin, end - begin, bytes));
  return run;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

Status WeightExpression::checkFinite(size_t node, int64_t first, int64_t count, const std::byte *elements) const {
  const DType dtype = nodes[node].dtype;
  const int64_t found = findNotFinite(dtype, elements, count);
  if (found < 0) {
    return runtime::OkStatus();
  }
  const float value = loadElement(dtype, elements + found * runtime::SizeOf(dtype));
  return runtime::InvalidArgument("{}, expected a finite number", describe(node, first + found, value));
}

Status WeightExpression::checkScales(size_t node, int64_t first, int64_t count, const std::byte *elements) const {
  const DType dtype = nodes[node].dtype;
  for (int64_t i = 0; i < count; ++i) {
    const float value = loadElement(dtype, elements + i * runtime::SizeOf(dtype));
    if (!(value > 0) || !std::isfinite(value)) {
      return runtime::InvalidArgument("{}, expected a scale: a positive, finite number",
                                      describe(node, first + i, value));
    }
  }
  return runtime::OkStatus();
}

std::string WeightExpression::describe(size_t index, int64_t element, float value) const {
  for (;;) {
    const Node &node = nodes[index];
    size_t input = 0;
    switch (node.kind) {
    case Kind::Tensor:
      return fmt::format("tensor '{}' is {} at element {}", names[node.name], value, element);
    case Kind::Fill:
      return fmt::format("a constant is {}", value);
    case Kind::Join:
      input = llvm::upper_bound(node.starts, element) - node.starts.begin() - 1;
      element -= node.starts[input];
      break;
    case Kind::Slice:
      element += node.offset;
      break;
    case Kind::Transpose:
      element = element % node.rows * node.columns + element / node.rows;
      break;
    case Kind::Broadcast:
      element /= node.group;
      break;
    case Kind::Absmax:
      element *= node.group;
      break;
    case Kind::Cast:
    case Kind::Quantize:
    case Kind::Dequantize:
      break;
    }
    index = node.inputs[input];
  }
}

void WeightExpression::forget() {
  for (Node &node : nodes) {
    node.data = {};
    node.scales = nullptr;
  }
}

} // namespace nemotron::codegen
