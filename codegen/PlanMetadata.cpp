//===- PlanMetadata.cpp - what a plan file says about its bytes ---------------------------------------------------===//
#include "codegen/PlanMetadata.h"

#include "codegen/WeightExpression.h"
#include "passes/PlanLiveness.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nemotron::codegen {
namespace {

schema::DType schemaType(Type element) {
  return element.isF32()            ? schema::DType::F32
         : element.isBF16()         ? schema::DType::BF16
         : element.isFloat8E4M3FN() ? schema::DType::F8E4M3
         : element.isInteger(8)     ? schema::DType::I8
         : element.isInteger(32)    ? schema::DType::I32
                                    : schema::DType::F16;
}

std::unique_ptr<schema::WeightT> makeWeight(plan::WeightOp op) {
  auto type = cast<RankedTensorType>(op.getType());
  auto weight = std::make_unique<schema::WeightT>();
  weight->name = op.getSymName().str();
  weight->dtype = schemaType(type.getElementType());
  auto layout = dyn_cast_or_null<plan::LayoutAttr>(type.getEncoding());
  static_assert(static_cast<int>(plan::Layout::Fragment) == static_cast<int>(schema::Layout::Fragment));
  weight->layout = layout ? static_cast<schema::Layout>(layout.getValue()) : schema::Layout::RowMajor;
  weight->shape = type.getShape().vec();
  return weight;
}

static_assert(static_cast<int>(ir::StateKind::Recent) == static_cast<int>(schema::StateKind::Recent));

std::unique_ptr<schema::StateT> makeState(plan::StateOp op) {
  auto type = cast<RankedTensorType>(op.getType());
  auto state = std::make_unique<schema::StateT>();
  state->name = op.getSymName().str();
  state->kind = static_cast<schema::StateKind>(op.getKind()); // equal values
  state->dtype = schemaType(type.getElementType());
  state->shape = type.getShape().vec();
  state->offset_bytes = *op.getOffset();
  return state;
}

std::unique_ptr<schema::BufferT> makeBuffer(plan::BufferOp op) {
  plan::BufferType type = op.getResult().getType();
  auto buffer = std::make_unique<schema::BufferT>();
  buffer->name = op.getName().str();
  buffer->dtype = schemaType(type.getElementType());
  buffer->space = type.getSpace() == plan::Space::Token ? schema::Space::Token : schema::Space::Row;
  buffer->columns = type.getColumns();
  buffer->row_bytes = op.rowBytes();
  buffer->offset_bytes = *op.getOffset();
  buffer->zeroed = op.getZeroed();
  return buffer;
}

std::unique_ptr<schema::ParameterT> makeParameter(NamedAttribute attribute) {
  auto parameter = std::make_unique<schema::ParameterT>();
  parameter->name = attribute.getName().str();
  Attribute value = attribute.getValue();
  if (auto boolean = dyn_cast<BoolAttr>(value)) {
    parameter->type = schema::ParameterType::Bool;
    parameter->int_value = boolean.getValue();
  } else if (auto integer = dyn_cast<IntegerAttr>(value)) {
    parameter->type = schema::ParameterType::Int;
    parameter->int_value = integer.getInt();
  } else if (auto number = dyn_cast<FloatAttr>(value)) {
    parameter->type = schema::ParameterType::Float;
    parameter->float_value = number.getValueAsDouble();
  } else {
    parameter->type = schema::ParameterType::String;
    parameter->string_value = cast<StringAttr>(value).str();
  }
  return parameter;
}

std::unique_ptr<schema::LaunchT> makeLaunch(DictionaryAttr attributes) {
  auto launch = std::make_unique<schema::LaunchT>();
  launch->function = attributes.getAs<StringAttr>("function").str();
  std::string *grid[] = {&launch->grid_x, &launch->grid_y, &launch->grid_z};
  for (auto [text, expression] : llvm::zip_equal(grid, attributes.getAs<ArrayAttr>("grid"))) {
    *text = cast<StringAttr>(expression).str();
  }
  launch->block_threads = attributes.getAs<IntegerAttr>("block_threads").getInt();
  launch->shared_bytes = attributes.getAs<IntegerAttr>("shared_bytes").getInt();
  for (StringRef text : attributes.getAs<ArrayAttr>("arguments").getAsValueRange<StringAttr>()) {
    auto [source, name] = text.split(' ');
    auto argument = std::make_unique<schema::LaunchArgumentT>();
    argument->source = llvm::StringSwitch<schema::LaunchSource>(source)
                           .Case("input", schema::LaunchSource::Input)
                           .Case("output", schema::LaunchSource::Output)
                           .Case("weight", schema::LaunchSource::Weight)
                           .Case("state", schema::LaunchSource::State)
                           .Case("parameter", schema::LaunchSource::Parameter)
                           .Case("scratch", schema::LaunchSource::Scratch)
                           .Default(schema::LaunchSource::Step);
    argument->name = name.str();
    launch->arguments.push_back(std::move(argument));
  }
  return launch;
}

/// Turns ops into entries and symbols and values into their indices.
class ProgramBuilder {
public:
  ProgramBuilder(ModuleOp module, schema::PlanT &plan) : module(module) {
    for (auto [index, weight] : llvm::enumerate(plan.weights)) {
      weights[weight->name] = index;
    }
    for (auto [index, state] : llvm::enumerate(plan.states)) {
      states[state->name] = index;
    }
  }

  std::unique_ptr<schema::ProgramT> build(plan::ProgramOp op) {
    program = std::make_unique<schema::ProgramT>();
    for (Operation &nested : op.getBody().front()) {
      if (auto buffer = dyn_cast<plan::BufferOp>(nested)) {
        addBuffer(buffer);
      } else if (auto dispatch = dyn_cast<plan::DispatchOp>(nested)) {
        addDispatch(dispatch);
      } else if (auto end = dyn_cast<plan::ReturnOp>(nested)) {
        program->logits = buffers.lookup(end.getLogits().getDefiningOp());
        program->samples = end.getSamples() ? buffers.lookup(end.getSamples().getDefiningOp()) : -1;
      }
    }
    program->token_arena_bytes = *op.getTokenArenaBytes();
    program->row_arena_bytes = *op.getRowArenaBytes();
    program->zeroed_bytes = op.getZeroedBytes().value_or(0);
    return std::move(program);
  }

private:
  void addBuffer(plan::BufferOp op) {
    buffers[op] = program->buffers.size();
    program->buffers.push_back(makeBuffer(op));
    const schema::BufferT &buffer = *program->buffers.back();
    if (buffer.zeroed) {
      return;
    }
    (buffer.space == schema::Space::Token ? program->token_bytes_without_reuse : program->row_bytes_without_reuse) +=
        buffer.row_bytes;
  }

  std::unique_ptr<schema::KernelT> makeKernel(StringRef name) {
    auto kernel = std::make_unique<schema::KernelT>();
    kernel->name = name.str();
    for (auto op : module.getOps<plan::KernelOp>()) {
      if (op.getName() == name) {
        for (auto launch : op.getLaunches().getAsRange<DictionaryAttr>()) {
          kernel->launches.push_back(makeLaunch(launch));
        }
        kernel->scratch = op.getScratch().value_or("").str();
      }
    }
    return kernel;
  }

  void addDispatch(plan::DispatchOp op) {
    auto dispatch = std::make_unique<schema::DispatchT>();
    auto [kernel, isNew] = kernels.try_emplace(op.getKernel(), program->kernels.size());
    if (isNew) {
      program->kernels.push_back(makeKernel(op.getKernel()));
    }
    dispatch->kernel = kernel->second;
    dispatch->layer = op.getLayer() ? static_cast<int32_t>(*op.getLayer()) : -1;
    addBuffers(*dispatch, schema::ArgumentKind::Input, op.getInputNames(), op.getInputs());
    addBuffers(*dispatch, schema::ArgumentKind::Output, op.getOutputNames(), op.getOutputs());
    addSymbols(*dispatch, schema::ArgumentKind::Weight, op.getWeights(), weights);
    addSymbols(*dispatch, schema::ArgumentKind::State, op.getStates(), states);
    for (NamedAttribute parameter : op.getParameters()) {
      dispatch->parameters.push_back(makeParameter(parameter));
    }
    program->dispatches.push_back(std::move(dispatch));
  }

  void addBuffers(schema::DispatchT &dispatch, schema::ArgumentKind kind, ArrayAttr names, ValueRange values) {
    for (auto [name, value] : llvm::zip(names.getAsValueRange<StringAttr>(), values)) {
      passes::BufferColumns columns = passes::resolveView(value);
      auto argument = std::make_unique<schema::ArgumentT>();
      argument->name = name.str();
      argument->kind = kind;
      argument->index = buffers.lookup(columns.buffer);
      argument->column = columns.begin;
      argument->columns = columns.end - columns.begin;
      dispatch.arguments.push_back(std::move(argument));
    }
  }

  void addSymbols(schema::DispatchT &dispatch, schema::ArgumentKind kind, DictionaryAttr symbols,
                  const llvm::StringMap<uint32_t> &indices) {
    for (NamedAttribute symbol : symbols) {
      auto argument = std::make_unique<schema::ArgumentT>();
      argument->name = symbol.getName().str();
      argument->kind = kind;
      argument->index = indices.lookup(cast<FlatSymbolRefAttr>(symbol.getValue()).getValue());
      dispatch.arguments.push_back(std::move(argument));
    }
  }

  ModuleOp module;
  std::unique_ptr<schema::ProgramT> program;
  llvm::StringMap<uint32_t> weights, states, kernels;
  llvm::DenseMap<Operation *, uint32_t> buffers;
};

std::unique_ptr<schema::ModelT> makeModel(const ir::ModelInfo &info, runtime::DType dtype) {
  auto model = std::make_unique<schema::ModelT>();
  model->architecture = info.architecture;
  model->name = info.name;
  model->dtype = static_cast<schema::DType>(dtype);
  model->vocab_size = info.vocabSize;
  model->hidden_size = info.hiddenSize;
  model->num_layers = info.layersBlockType.size();
  model->layers_block_type = info.layersBlockType;
  model->max_position_embeddings = info.maxPositionEmbeddings;
  model->num_parameters = info.numParameters;
  model->bos_token_id = info.bosTokenId;
  model->eos_token_ids = info.eosTokenIds;
  model->pad_token_id = info.padTokenId;
  model->config_json = info.configJson;
  return model;
}

std::unique_ptr<schema::GenerationT> makeGeneration(const ir::ModelInfo &info) {
  auto generation = std::make_unique<schema::GenerationT>();
  generation->do_sample = info.doSample;
  generation->temperature = info.temperature;
  generation->top_k = info.topK;
  generation->top_p = info.topP;
  generation->min_p = info.minP;
  generation->repetition_penalty = info.repetitionPenalty;
  return generation;
}

/// Whatever pipeline ran: all that is read below is there.
LogicalResult verifyPlaced(ModuleOp module) {
  Operation *unplaced = nullptr;
  module.walk([&](Operation *op) {
    bool placed = llvm::TypeSwitch<Operation *, bool>(op)
                      .Case<plan::BufferOp, plan::StateOp>([](auto place) { return place.getOffset().has_value(); })
                      .Case([](plan::ProgramOp program) {
                        return program.getTokenArenaBytes().has_value() && program.getRowArenaBytes().has_value();
                      })
                      .Default(true);
    unplaced = placed ? unplaced : op;
  });
  if (unplaced) {
    return unplaced->emitOpError() << "has no place in memory, expected plan-memory to have run";
  }
  return success();
}

/// Whether both weights are the same elements of the same tensors: their regions differ in how they lay them alone.
bool haveSameElements(plan::WeightOp a, plan::WeightOp b) {
  auto steps = [](plan::WeightOp op) {
    return llvm::make_filter_range(op.getBody().getOps(),
                                   [](Operation &step) { return !isa<plan::PackOp, plan::YieldOp>(step); });
  };
  auto isSame = [](Operation &a, Operation &b) {
    return a.getName() == b.getName() && a.getAttrDictionary() == b.getAttrDictionary() &&
           a.getResultTypes() == b.getResultTypes();
  };
  auto stepsOfA = steps(a), stepsOfB = steps(b);
  return std::equal(stepsOfA.begin(), stepsOfA.end(), stepsOfB.begin(), stepsOfB.end(), isSame);
}

bool areEqual(const schema::StateT &a, const schema::StateT &b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.shape == b.shape && a.offset_bytes == b.offset_bytes;
}

/// The layout that the CPU's program wants each weight in; those that it does not read stay as they are.
FailureOr<std::vector<schema::Layout>> cpuLayouts(const schema::PlanT &plan, ModuleOp module, ModuleOp cpuModule) {
  llvm::StringMap<plan::WeightOp> cpuWeights;
  for (auto weight : cpuModule.getOps<plan::WeightOp>()) {
    if (!module.lookupSymbol<plan::WeightOp>(weight.getSymName())) {
      return weight.emitOpError() << "is read by the CPU's program alone, expected it in the program for GPUs";
    }
    cpuWeights[weight.getSymName()] = weight;
  }
  std::vector<schema::Layout> layouts;
  for (auto [op, weight] : llvm::zip_equal(module.getOps<plan::WeightOp>(), plan.weights)) {
    plan::WeightOp cpuOp = cpuWeights.lookup(op.getSymName());
    if (!cpuOp) {
      layouts.push_back(weight->layout);
      continue;
    }
    std::unique_ptr<schema::WeightT> cpuWeight = makeWeight(cpuOp);
    if (cpuWeight->dtype != weight->dtype || cpuWeight->shape != weight->shape || !haveSameElements(op, cpuOp)) {
      return op.emitOpError() << "is made in another way for the CPU, as " << cpuOp.getType() << " and not as "
                              << op.getType();
    }
    layouts.push_back(cpuWeight->layout);
  }
  return layouts;
}

LogicalResult verifyCpuStates(const schema::PlanT &plan, ModuleOp cpuModule) {
  llvm::StringMap<const schema::StateT *> states;
  for (const auto &state : plan.states) {
    states[state->name] = state.get();
  }
  for (auto op : cpuModule.getOps<plan::StateOp>()) {
    const schema::StateT *state = states.lookup(op.getSymName());
    if (!state || !areEqual(*state, *makeState(op))) {
      return op.emitOpError() << (state ? "has another kind, type or place" : "is not there")
                              << " in the plan for GPUs";
    }
  }
  return success();
}

/// The program of a module that passed all of the pipeline.
FailureOr<plan::ProgramOp> findProgram(ModuleOp module) {
  auto programs = module.getOps<plan::ProgramOp>();
  const bool hasTarget = module->hasAttrOfType<StringAttr>("plan.target");
  if (!hasTarget || programs.empty()) {
    return emitError(module.getLoc()) << "the module has no " << (hasTarget ? "plan.program" : "attribute plan.target")
                                      << ", expected convert-nemotron-to-plan to have run";
  }
  if (failed(verifyPlaced(module))) {
    return failure();
  }
  return *programs.begin();
}

} // namespace

FailureOr<schema::PlanT> buildMetadata(ModuleOp module, const ir::ModelInfo &info, runtime::DType dtype) {
  FailureOr<plan::ProgramOp> program = findProgram(module);
  if (failed(program)) {
    return failure();
  }
  schema::PlanT plan;
  plan.target = module->getAttrOfType<StringAttr>("plan.target").str();
  for (auto weight : module.getOps<plan::WeightOp>()) {
    plan.weights.push_back(makeWeight(weight));
  }
  for (auto state : module.getOps<plan::StateOp>()) {
    plan.states.push_back(makeState(state));
    uint64_t &end = state.getKind() == ir::StateKind::KvCache ? plan.kv_bytes_per_token : plan.slot_bytes;
    end = std::max<uint64_t>(end, *state.getOffset() + passes::stateBytes(state));
  }
  plan.program = ProgramBuilder(module, plan).build(*program);
  plan.model = makeModel(info, dtype);
  plan.chat_template = info.chatTemplate;
  plan.generation = makeGeneration(info);
  return plan;
}

LogicalResult addCpuProgram(schema::PlanT &plan, ModuleOp module, ModuleOp cpuModule) {
  FailureOr<plan::ProgramOp> program = findProgram(cpuModule);
  if (failed(program) || failed(verifyCpuStates(plan, cpuModule))) {
    return failure();
  }
  FailureOr<std::vector<schema::Layout>> layouts = cpuLayouts(plan, module, cpuModule);
  if (failed(layouts)) {
    return failure();
  }
  plan.on_cpu = std::make_unique<schema::CpuProgramT>();
  plan.on_cpu->layouts = std::move(*layouts);
  plan.on_cpu->program = ProgramBuilder(cpuModule, plan).build(*program);
  return success();
}

} // namespace nemotron::codegen
