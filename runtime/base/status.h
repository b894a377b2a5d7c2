#ifndef RUNTIME_BASE_STATUS_H_
#define RUNTIME_BASE_STATUS_H_

#include <fmt/format.h>

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace nemotron::runtime {

/// Canonical error codes; each means what it means in Abseil.
enum class StatusCode {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kNotFound = 5,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
};

/// Lower-case name of a code, e.g. "invalid argument".
const char* StatusCodeName(StatusCode code);

/// The outcome of an operation that can fail because of a file, a user or a device. Cheap to move; a failure must be
/// looked at. Messages are lower case without full stop and say what, where, found and expected.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  /// The same failure with `; context` added to its message, e.g. "while loading 'm.plan'". No change if ok.
  Status WithContext(const std::string& context) &&;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return Status(); }

/// A status with a formatted message: `Error(StatusCode::kNotFound, "no file '{}'", path)`.
template <typename... Args>
Status Error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Status InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return Status(StatusCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}
/// The bytes of a file or message are damaged.
template <typename... Args>
Status DataLoss(fmt::format_string<Args...> format, Args&&... args) {
  return Status(StatusCode::kDataLoss, fmt::format(format, std::forward<Args>(args)...));
}
/// A well-formed request for something this program does not have.
template <typename... Args>
Status Unimplemented(fmt::format_string<Args...> format, Args&&... args) {
  return Status(StatusCode::kUnimplemented, fmt::format(format, std::forward<Args>(args)...));
}

/// Either a value or the failure that stood in its way.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) { assert(!status_.ok()); }
  StatusOr(T value) : value_(std::move(value)) {}
  template <typename U>
    requires(std::is_convertible_v<U &&, T> && !std::is_same_v<std::remove_cvref_t<U>, Status> &&
             !std::is_same_v<std::remove_cvref_t<U>, StatusOr> && !std::is_same_v<std::remove_cvref_t<U>, T>)
  StatusOr(U&& value) : value_(std::forward<U>(value)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

#define NEMOTRON_CONCAT_INNER(a, b) a##b
#define NEMOTRON_CONCAT(a, b) NEMOTRON_CONCAT_INNER(a, b)

/// Returns from the enclosing function with the failure of `expr`, if it failed.
#define RETURN_IF_ERROR(expr)                                          \
  do {                                                                 \
    if (::nemotron::runtime::Status status_ = (expr); !status_.ok()) { \
      return status_;                                                  \
    }                                                                  \
  } while (false)

/// `ASSIGN_OR_RETURN(auto plan, LoadPlan(path))`: the value of `expr`, or return with its failure.
#define ASSIGN_OR_RETURN(target, expr) \
  NEMOTRON_ASSIGN_OR_RETURN_INNER(NEMOTRON_CONCAT(status_or_, __LINE__), target, expr)
#define NEMOTRON_ASSIGN_OR_RETURN_INNER(temporary, target, expr) \
  auto temporary = (expr);                                       \
  if (!temporary.ok()) {                                         \
    return std::move(temporary).status();                        \
  }                                                              \
  target = std::move(temporary).value()

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_STATUS_H_
