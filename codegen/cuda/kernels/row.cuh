// A row in the registers of a block, for kernels that need the whole of it before they write (rows.cuh, scan.cuh). A
// `Shape` has the constants kColumns, kVector and kThreads.

/// A row of kColumns F32 in the registers of a block.
template <class Shape>
struct Row {
  static constexpr int kStep = Shape::kThreads * Shape::kVector;
  static constexpr int kSteps = (Shape::kColumns + kStep - 1) / kStep;

  static __device__ int First(int step) { return step * kStep + static_cast<int>(threadIdx.x) * Shape::kVector; }

  /// Calls body(value) for the elements of this thread.
  template <class Body>
  __device__ void ForEach(Body body) {
    ForEachWith(*this, [&](float& x, float) { body(x); });
  }

  /// Calls body(value, other) for the elements of this thread and those of `other` in the same columns.
  template <class Body>
  __device__ void ForEachWith(const Row& other, Body body) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (First(step) < Shape::kColumns) {
#pragma unroll
        for (int j = 0; j < Shape::kVector; ++j) {
          body(values[step][j], other.values[step][j]);
        }
      }
    }
  }

  template <class T>
  __device__ void Load(const T* from) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (First(step) < Shape::kColumns) {
        const auto loaded = LoadVector<Shape::kVector>(from + First(step));
#pragma unroll
        for (int j = 0; j < Shape::kVector; ++j) {
          values[step][j] = ToFloat(loaded.values[j]);
        }
      }
    }
  }

  template <class T>
  __device__ void Store(T* to) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (First(step) < Shape::kColumns) {
        Vector<T, Shape::kVector> stored;
#pragma unroll
        for (int j = 0; j < Shape::kVector; ++j) {
          stored.values[j] = FromFloat<T>(values[step][j]);
        }
        StoreVector<Shape::kVector>(to + First(step), stored);
      }
    }
  }

  float values[kSteps][Shape::kVector];
};

/// RMSNorm of gated values: u = x * silu(gate), divided by its root mean square, times `weight`. Mamba-2,
/// arXiv:2405.21060, section 7.1. `scratch` holds kThreads / 32 floats.
template <class Shape>
__device__ void NormalizeGated(Row<Shape>& row, const float* gate, const float* weight, float eps, float* scratch) {
  Row<Shape> gates, gains;
  gates.Load(gate);
  gains.Load(weight);  // before the barrier, so that it takes no time of its own
  float squares = 0;
  row.ForEachWith(gates, [&](float& x, float z) {
    x *= Silu(z);
    squares = __fmaf_rn(x, x, squares);
  });
  squares = BlockReduce<Sum, Shape::kThreads>(squares, scratch);
  const float factor = 1.0f / sqrtf(squares / Shape::kColumns + eps);
  row.ForEachWith(gains, [&](float& x, float gain) { x = x * factor * gain; });
}
