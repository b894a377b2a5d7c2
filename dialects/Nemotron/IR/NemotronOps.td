//===- NemotronOps.td - all ops of the dialect --------------------------------------------------------------------===//
include "dialects/Nemotron/IR/NemotronDenseOps.td"
include "dialects/Nemotron/IR/NemotronNormOps.td"
include "dialects/Nemotron/IR/NemotronQuantizationOps.td"
include "dialects/Nemotron/IR/NemotronSequenceOps.td"
include "dialects/Nemotron/IR/NemotronWeightOps.td"
