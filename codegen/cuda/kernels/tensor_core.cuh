// The instructions of tensor cores and of copies into shared memory (PTX ISA, sections 9.7.9.25 and 9.7.14.5), and what
// sm_80 has in their place. Bodies that multiply matrices share them.

__device__ inline unsigned SharedAddress(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// `num_bytes` from global to shared memory, asynchronously, and zeros up to 16.
__device__ inline void CopyAsync(void* to, const void* from, int num_bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from), "r"(num_bytes)
               : "memory");
}
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Two 8x8 matrices of 16-bit elements, one row an address of lanes 0 to 15.
__device__ inline void LoadMatrix2(unsigned (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(SharedAddress(row))
               : "memory");
}

/// Four, their rows an address of each lane: two operands B of products over 16 (of 8-bit elements 32).
__device__ inline void LoadMatrix4(unsigned (&first)[2], unsigned (&second)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(first[0]), "=r"(first[1]), "=r"(second[0]), "=r"(second[1])
               : "r"(SharedAddress(row))
               : "memory");
}

__device__ inline void MultiplyBF16(float (&sum)[4], const uint4& a, const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b[0]), "r"(b[1]));
}

__device__ inline void MultiplyBF16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  MultiplyBF16(sum, uint4{a[0], a[1], a[2], a[3]}, b);
}

__device__ inline void MultiplyF16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four E4M3 as two pairs of F16, exact: codes 0 and 1, then 2 and 3.
__device__ inline void DecodeF16(unsigned codes, unsigned& low, unsigned& high) {
#if __CUDA_ARCH__ >= 890
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.rn.f16x2.e4m3x2 %0, l; cvt.rn.f16x2.e4m3x2 %1, h;}"
      : "=r"(low), "=r"(high)
      : "r"(codes));
#else
  // Sign to bit 15, exponent and mantissa below it: 2^-8 of the number, as F16 has bias 15 where E4M3 has 7.
  const unsigned spread[2] = {__byte_perm(codes, 0, 0x1404), __byte_perm(codes, 0, 0x3424)};
  unsigned decoded[2];
  for (int i = 0; i < 2; ++i) {
    const unsigned scaled = (spread[i] & 0x80008000u) | ((spread[i] & 0x7F007F00u) >> 1);
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(decoded[i]) : "r"(scaled), "r"(0x5C005C00u));  // 2^8
    const unsigned nan = ((spread[i] & 0x7F007F00u) + 0x01000100u) & 0x80008000u;        // magnitude 0x7F
    decoded[i] |= (nan >> 15) * 0x7E00u;
  }
  low = decoded[0];
  high = decoded[1];
#endif
}

/// Pairs of F16 as pairs of BF16; exact for what E4M3 holds, which has 4 significant bits.
__device__ inline unsigned F16ToBF16(unsigned pair) {
  float low, high;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
      : "=f"(low), "=f"(high)
      : "r"(pair));
  return PackBF16(low, high);
}

/// 32 products a sum of E4M3. Only where tensor cores do that: else ptxas would make it of F16 products, and decode
/// both operands for each.
__device__ inline void MultiplyE4M3(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200)
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
