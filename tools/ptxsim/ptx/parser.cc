#include "tools/ptxsim/ptx/parser.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "tools/ptxsim/ptx/body.h"
#include "tools/ptxsim/ptx/declarations.h"
#include "tools/ptxsim/ptx/scopes.h"
#include "tools/ptxsim/ptx/token_reader.h"

namespace nemotron::ptxsim {
namespace {

using runtime::OkStatus;
using runtime::Status;
using runtime::StatusOr;

/// The directives of a module (ISA, section 11); bodies of functions are left to BodyParser.
class ModuleParser {
 public:
  explicit ModuleParser(std::string_view text) : reader_(text) {}

  StatusOr<Module> Parse();

 private:
  Status ParseHeader();
  Status ParseTarget();
  Status ParseTopLevel();
  Status ParseVariables(Space space, bool is_extern);
  Status ParseFunction(bool is_entry);
  Status ParseFunctionDirectives(Function& function);
  StatusOr<std::array<uint32_t, 3>> ParseExtents();
  Status SkipSection();
  /// Takes note of a declaration; a second definition is an error.
  Status Declare(const std::string& name, bool is_function, bool is_defined, uint32_t line);

  TokenReader reader_;
  DeclarationParser declarations_{reader_};
  ModuleNames names_;
  Module module_;
};

StatusOr<Module> ModuleParser::Parse() {
  RETURN_IF_ERROR(ParseHeader());
  while (!reader_.Is(TokenKind::kEnd)) {
    RETURN_IF_ERROR(ParseTopLevel());
  }
  return std::move(module_);
}

/// `.version 9.0`, `.target sm_90a`, `.address_size 64`, in this order.
Status ModuleParser::ParseHeader() {
  if (!reader_.Accept(".version")) {
    return reader_.Unexpected("'.version'");
  }
  if (!reader_.Is(TokenKind::kFloat)) {
    return reader_.Unexpected("a version, e.g. 9.0");
  }
  module_.version = reader_.token().text;
  reader_.Next();
  RETURN_IF_ERROR(ParseTarget());
  if (reader_.Accept(".address_size")) {
    const uint32_t line = reader_.line();
    ASSIGN_OR_RETURN(const int64_t bits, reader_.ExpectInteger("64"));
    if (bits != 64) {
      return UnsupportedAt(line, "addresses of {} bits, of 64 are supported", bits);
    }
  }
  return OkStatus();
}

Status ModuleParser::ParseTarget() {
  if (!reader_.Accept(".target")) {
    return reader_.Unexpected("'.target'");
  }
  const uint32_t line = reader_.line();
  ASSIGN_OR_RETURN(module_.target, reader_.ExpectIdentifier("an architecture, e.g. sm_90a"));
  if (!module_.target.starts_with("sm_")) {
    return ErrorAt(line, "target '{}', expected an architecture, e.g. sm_90a", module_.target);
  }
  while (reader_.Accept(',')) {
    const uint32_t line = reader_.line();
    ASSIGN_OR_RETURN(const std::string_view option, reader_.ExpectIdentifier("an option of the target"));
    if (option != "debug") {  // says that there are sections for debuggers
      return UnsupportedAt(line, "target option '{}' is not supported", option);
    }
  }
  return OkStatus();
}

Status ModuleParser::ParseTopLevel() {
  bool is_extern = false;
  for (bool more = true; more;) {
    if (reader_.Accept(".extern")) {
      is_extern = true;
    } else {
      // One module is loaded alone, so who else sees a name makes no difference.
      more = reader_.Accept(".visible") || reader_.Accept(".weak") || reader_.Accept(".common");
    }
  }
  if (reader_.Accept(".entry")) {
    return ParseFunction(/*is_entry=*/true);
  }
  if (reader_.Accept(".func")) {
    return ParseFunction(/*is_entry=*/false);
  }
  constexpr std::pair<std::string_view, Space> kSpaces[] = {
      {".global", Space::kGlobal}, {".const", Space::kConst}, {".shared", Space::kShared}};
  for (const auto& [name, space] : kSpaces) {
    if (reader_.Accept(name)) {
      return ParseVariables(space, is_extern);
    }
  }
  if (reader_.Is(".file") || reader_.Is(".loc")) {
    reader_.SkipLine();
    return OkStatus();
  }
  if (reader_.Is(".pragma")) {
    return reader_.SkipPragma();
  }
  if (reader_.Accept(".section")) {
    return SkipSection();
  }
  if (reader_.Is(TokenKind::kDotted)) {
    return UnsupportedAt(reader_.line(), "directive '{}' in a module is not supported", reader_.token().text);
  }
  return reader_.Unexpected("a function, a variable or the end of the text");
}

Status ModuleParser::Declare(const std::string& name, bool is_function, bool is_defined, uint32_t line) {
  const auto [entry, is_new] = names_.try_emplace(name, ModuleName{is_function, is_defined});
  ModuleName& known = entry->second;
  if (known.is_function != is_function) {
    return ErrorAt(line, "'{}' is declared as a variable and as a function", name);
  }
  if (!is_new && is_defined && known.is_defined) {
    return ErrorAt(line, "'{}' is defined twice", name);
  }
  known.is_defined |= is_defined;
  return OkStatus();
}

Status ModuleParser::ParseVariables(Space space, bool is_extern) {
  const uint32_t line = reader_.line();
  std::vector<Variable> variables;
  RETURN_IF_ERROR(declarations_.ParseVariables(space, is_extern, variables));
  for (Variable& variable : variables) {
    const bool is_declared = names_.contains(variable.name);
    RETURN_IF_ERROR(Declare(variable.name, /*is_function=*/false, !is_extern, line));
    if (!is_declared) {
      module_.variables.push_back(std::move(variable));
    } else if (!is_extern) {
      *std::find_if(module_.variables.begin(), module_.variables.end(),
                    [&](const Variable& known) { return known.name == variable.name; }) = std::move(variable);
    }
  }
  return OkStatus();
}

Status ModuleParser::ParseFunction(bool is_entry) {
  Function function;
  function.is_entry = is_entry;
  function.line = reader_.line();
  if (!is_entry && reader_.Is('(')) {
    ASSIGN_OR_RETURN(function.results, declarations_.ParseParameters());
  }
  if (reader_.Is(".attribute")) {
    return UnsupportedAt(reader_.line(), "'.attribute' of a function is not supported");
  }
  ASSIGN_OR_RETURN(function.name, reader_.ExpectIdentifier("the name of a function"));
  if (reader_.Is('(')) {
    ASSIGN_OR_RETURN(function.parameters, declarations_.ParseParameters());
  }
  for (const Parameter& parameter : function.parameters) {
    function.parameter_bytes = parameter.offset_bytes + parameter.size_bytes;
  }
  constexpr int64_t kMaxParameterBytes = 32764;  // section 4.4: of an entry, from sm_70 on
  if (is_entry && function.parameter_bytes > kMaxParameterBytes) {
    return ErrorAt(function.line, "parameters of '{}' take {} bytes, expected at most {}", function.name,
                   function.parameter_bytes, kMaxParameterBytes);
  }
  RETURN_IF_ERROR(ParseFunctionDirectives(function));
  const bool is_defined = !reader_.Is(';');
  RETURN_IF_ERROR(Declare(function.name, /*is_function=*/true, is_defined, function.line));
  if (!is_defined) {
    reader_.Next();
    return OkStatus();
  }
  RETURN_IF_ERROR(BodyParser(reader_, declarations_, names_, function).Parse());
  module_.functions.push_back(std::move(function));
  return OkStatus();
}

/// `.maxntid 256, 1, 1 .minnctapersm 2`, between parameters and body (section 11.4).
Status ModuleParser::ParseFunctionDirectives(Function& function) {
  while (reader_.Is(TokenKind::kDotted)) {
    const uint32_t line = reader_.line();
    const std::string_view directive = reader_.token().text;
    if (directive == ".pragma") {
      RETURN_IF_ERROR(reader_.SkipPragma());
      continue;
    }
    reader_.Next();
    if (directive == ".maxntid") {
      ASSIGN_OR_RETURN(function.max_threads, ParseExtents());
    } else if (directive == ".reqntid") {
      ASSIGN_OR_RETURN(function.required_threads, ParseExtents());
    } else if (directive == ".minnctapersm") {
      ASSIGN_OR_RETURN(const int64_t blocks, reader_.ExpectSize("a number of blocks", UINT32_MAX));
      function.min_blocks_per_sm = static_cast<uint32_t>(blocks);
    } else if (directive == ".reqnctapercluster") {
      ASSIGN_OR_RETURN(const auto extents, ParseExtents());
      if (extents != std::array<uint32_t, 3>{1, 1, 1}) {
        return UnsupportedAt(line, "clusters of {}x{}x{} blocks, of 1x1x1 are supported", extents[0], extents[1],
                             extents[2]);
      }
    } else if (directive == ".maxnreg" || directive == ".maxnctapersm" || directive == ".maxclusterrank") {
      RETURN_IF_ERROR(reader_.ExpectSize("a number", UINT32_MAX).status());  // limits that code here never meets
    } else if (directive != ".explicitcluster" && directive != ".noreturn") {
      return UnsupportedAt(line, "directive '{}' of a function is not supported", directive);
    }
  }
  return OkStatus();
}

/// One to three positive integers; those left out are 1.
StatusOr<std::array<uint32_t, 3>> ModuleParser::ParseExtents() {
  std::array<uint32_t, 3> extents = {1, 1, 1};
  for (size_t i = 0; i < 3 && (i == 0 || reader_.Accept(',')); ++i) {
    const uint32_t line = reader_.line();
    ASSIGN_OR_RETURN(const int64_t extent, reader_.ExpectSize("an extent", UINT32_MAX));
    if (extent == 0) {
      return ErrorAt(line, "an extent of 0, expected at least 1");
    }
    extents[i] = static_cast<uint32_t>(extent);
  }
  return extents;
}

/// `.section .debug_info { .b8 1 ... }`: what debuggers read.
Status ModuleParser::SkipSection() {
  if (!reader_.Is(TokenKind::kDotted) || !reader_.token().text.starts_with(".debug")) {
    return UnsupportedAt(reader_.line(), "section '{}', only those for debuggers are known", reader_.token().text);
  }
  reader_.Next();
  RETURN_IF_ERROR(reader_.Expect('{'));
  while (!reader_.Accept('}')) {
    if (reader_.Is(TokenKind::kEnd) || reader_.Is(TokenKind::kInvalid)) {
      return reader_.Unexpected("'}' at the end of a section");
    }
    reader_.Next();
  }
  return OkStatus();
}

}  // namespace

StatusOr<Module> ParsePtx(std::string_view text) { return ModuleParser(text).Parse(); }

}  // namespace nemotron::ptxsim
