// Graphs, which come from captures, and their execution.

#include <cuda.h>

#include <algorithm>
#include <memory>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

CUgraphNodeType TypeOf(const Operation& operation) {
  constexpr CUgraphNodeType kTypes[] = {CU_GRAPH_NODE_TYPE_KERNEL, CU_GRAPH_NODE_TYPE_MEMCPY, CU_GRAPH_NODE_TYPE_MEMSET,
                                        CU_GRAPH_NODE_TYPE_HOST};
  static_assert(std::size(kTypes) == std::variant_size_v<Operation>);
  return kTypes[operation.index()];
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec* handle, CUgraph graph_handle, unsigned long long flags) {
  return InContext([&](Driver& driver, ContextState& context) {
    const GraphState* graph = driver.graphs.Find(graph_handle);
    if (handle == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (graph == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    // Memory nodes, which the first flag is about, do not exist; priorities change no result.
    if ((flags & ~uint64_t{CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                           CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY}) != 0) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    auto exec = std::make_unique<GraphExecState>();
    exec->context = &context;
    for (const CUgraphNode node : graph->nodes) {
      exec->operations.push_back(driver.graph_nodes.Find(node)->operation);
    }
    *handle = driver.graph_execs.Add(std::move(exec));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  return InContext([&](Driver& driver, ContextState& context) {
    const GraphExecState* exec = driver.graph_execs.Find(handle);
    StreamState* stream = nullptr;
    if (exec == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (const CUresult result = FindStream(driver, stream_handle, stream); result != CUDA_SUCCESS) {
      return result;
    }
    if (stream != nullptr && stream->capture) {  // graphs in graphs
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    for (const Operation& operation : exec->operations) {
      if (const CUresult result = Execute(driver, context, operation); result != CUDA_SUCCESS) {
        return result;
      }
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec handle) {
  return InContext([&](Driver& driver, ContextState&) {
    return driver.graph_execs.Remove(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult CUDAAPI cuGraphDestroy(CUgraph handle) {
  return InContext([&](Driver& driver, ContextState&) {
    const GraphState* graph = driver.graphs.Find(handle);
    if (graph == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    for (const CUgraphNode node : graph->nodes) {
      driver.graph_nodes.Remove(node);
    }
    driver.graphs.Remove(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphGetNodes(CUgraph handle, CUgraphNode* nodes, size_t* num_nodes) {
  return InContext([&](Driver& driver, ContextState&) {
    const GraphState* graph = driver.graphs.Find(handle);
    if (num_nodes == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (graph == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (nodes == nullptr) {
      *num_nodes = graph->nodes.size();
      return CUDA_SUCCESS;
    }
    const size_t count = std::min(*num_nodes, graph->nodes.size());
    std::copy_n(graph->nodes.begin(), count, nodes);
    std::fill(nodes + count, nodes + *num_nodes, nullptr);
    *num_nodes = count;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType* type) {
  return InContext([&](Driver& driver, ContextState&) {
    const GraphNode* node = driver.graph_nodes.Find(handle);
    if (type == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (node == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    *type = TypeOf(node->operation);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
