// Experts: for each pick of a token, down_e * relu2(up_e * x), added up with the weights of the picks. Two products,
// with the slabs and sums of matmul_slabs.cuh; rows of x are gathered, so that a block multiplies the rows of one
// expert. All intermediate rows lie in scratch memory by pick, t * k + i for pick i of token t: nothing is moved to be
// sorted.
//
// Sums are chains over K that do not depend on the tile (matmul_slabs.cuh), and a token's picks are added one after
// another in the order of experts, with the same multiply-adds in decode as in prefill: results do not depend on the
// step.
#include "codegen/cuda/kernels/moe_experts_codes.cuh"
#include "codegen/cuda/kernels/moe_experts_few.cuh"
#include "codegen/cuda/kernels/moe_experts_many.cuh"
