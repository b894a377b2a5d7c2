#include "runtime/plan/grid_expression.h"

#include <cctype>
#include <limits>

namespace nemotron::runtime {

namespace {

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
constexpr int kMaxNodes = 64;
constexpr size_t kMaxCharacters = 256;  // bounds the depth of parentheses too

int64_t SaturatingAdd(int64_t a, int64_t b) { return a > kLargest - b ? kLargest : a + b; }
int64_t SaturatingMultiply(int64_t a, int64_t b) { return a != 0 && b > kLargest / a ? kLargest : a * b; }

}  // namespace

/// Recursive descent; each rule returns its node, or -1 after an error.
class GridParser {
 public:
  explicit GridParser(std::string_view text) : text_(text) {}

  StatusOr<GridExpression> Parse() {
    if (text_.size() > kMaxCharacters) {
      return InvalidArgument("grid has {} characters, expected at most {}", text_.size(), kMaxCharacters);
    }
    const int result = Expression();
    Skip();
    if (result >= 0 && at_ < text_.size()) {
      Fail("the end");
    }
    RETURN_IF_ERROR(error_);
    return std::move(expression_);
  }

 private:
  using Op = GridExpression::Op;
  using Node = GridExpression::Node;

  int Expression() {
    const int left = Sum();
    const bool greater = Take(">"), up_to = !greater && Take("<=");
    if (left < 0 || !(greater || up_to)) {
      return left;
    }
    const int right = Sum();
    if (right < 0 || !Expect("?")) {
      return -1;
    }
    const int first = Expression();
    if (first < 0 || !Expect(":")) {
      return -1;
    }
    const int second = Expression();
    return second < 0 ? -1
                      : Add({.op = Op::kSelectUpTo,
                             .left = left,
                             .right = right,
                             .if_true = up_to ? first : second,
                             .if_false = up_to ? second : first});
  }

  int Sum() { return Chain("+", Op::kAdd, &GridParser::Product); }
  int Product() { return Chain("*", Op::kMultiply, &GridParser::Atom); }

  int Chain(std::string_view separator, Op op, int (GridParser::*operand)()) {
    int left = (this->*operand)();
    while (left >= 0 && Take(separator)) {
      const int right = (this->*operand)();
      left = right < 0 ? -1 : Add({.op = op, .left = left, .right = right});
    }
    return left;
  }

  int Atom() {
    for (const auto& [letter, op] :
         {std::pair("T", Op::kTokens), std::pair("S", Op::kSequences), std::pair("R", Op::kRows),
          std::pair("A", Op::kSampled), std::pair("L", Op::kLongest), std::pair("C", Op::kContext)}) {
      if (Take(letter)) {
        return Add({.op = op});
      }
    }
    if (Take("(")) {
      const int inner = Expression();
      return inner >= 0 && Expect(")") ? inner : -1;
    }
    if (Take("ceil")) {
      if (!Expect("(")) {
        return -1;
      }
      const int left = Sum();
      if (left < 0 || !Expect("/")) {
        return -1;
      }
      const int right = Number();
      if (right >= 0 && expression_.nodes_[right].number == 0) {
        return Fail("a divisor above 0");
      }
      return right >= 0 && Expect(")") ? Add({.op = Op::kCeilDivide, .left = left, .right = right}) : -1;
    }
    return Number();
  }

  int Number() {
    Skip();
    int64_t number = 0;
    const size_t begin = at_;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) && number < (int64_t{1} << 31)) {
      number = 10 * number + (text_[at_++] - '0');
    }
    return at_ == begin || number >= (int64_t{1} << 31) ? Fail("T, S, R, A, L, C, ceil, '(' or a number below 2^31")
                                                        : Add({.op = Op::kNumber, .number = number});
  }

  void Skip() {
    while (at_ < text_.size() && text_[at_] == ' ') {
      ++at_;
    }
  }
  bool Take(std::string_view token) {
    Skip();
    const bool found = text_.substr(at_).starts_with(token);
    at_ += found ? token.size() : 0;
    return found;
  }
  bool Expect(std::string_view token) { return Take(token) || Fail(token) >= 0; }

  int Fail(std::string_view expected) {
    if (error_.ok()) {
      error_ =
          InvalidArgument("grid '{}' has '{}' at position {}, expected {}", text_, text_.substr(at_, 1), at_, expected);
    }
    return -1;
  }

  int Add(const Node& node) {
    if (expression_.nodes_.size() == kMaxNodes) {
      return Fail(fmt::format("at most {} operations", kMaxNodes));
    }
    expression_.nodes_.push_back(node);
    return static_cast<int>(expression_.nodes_.size()) - 1;
  }

  std::string_view text_;
  size_t at_ = 0;
  Status error_;
  GridExpression expression_;
};

StatusOr<GridExpression> GridExpression::Parse(std::string_view text) { return GridParser(text).Parse(); }

int64_t GridExpression::Evaluate(const GridShape& shape) const {
  return Value(static_cast<int>(nodes_.size()) - 1, shape);
}

int64_t GridExpression::Value(int index, const GridShape& shape) const {
  const Node& node = nodes_[index];
  switch (node.op) {
    case Op::kNumber:
      return node.number;
    case Op::kTokens:
      return shape.tokens;
    case Op::kSequences:
      return shape.sequences;
    case Op::kRows:
      return shape.rows;
    case Op::kSampled:
      return shape.sampled;
    case Op::kLongest:
      return shape.longest;
    case Op::kContext:
      return shape.context;
    case Op::kAdd:
      return SaturatingAdd(Value(node.left, shape), Value(node.right, shape));
    case Op::kMultiply:
      return SaturatingMultiply(Value(node.left, shape), Value(node.right, shape));
    case Op::kCeilDivide: {
      const int64_t value = Value(node.left, shape), divisor = nodes_[node.right].number;
      return value / divisor + (value % divisor != 0 ? 1 : 0);
    }
    case Op::kSelectUpTo:
      return Value(Value(node.left, shape) <= Value(node.right, shape) ? node.if_true : node.if_false, shape);
  }
  return 0;
}

}  // namespace nemotron::runtime
