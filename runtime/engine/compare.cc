#include "runtime/engine/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "runtime/engine/observer.h"
#include "runtime/engine/scoring.h"

namespace nemotron::runtime {
namespace {

/// The role in which a norm of the residual stream reads it; empty if `op` is no such norm.
std::string_view StreamRole(std::string_view op) {
  constexpr std::string_view kQuantize = "_quantize";
  if (op.ends_with(kQuantize)) {
    op.remove_suffix(kQuantize.size());
  }
  if (op == "add_rms_norm" || op == "add_layer_norm") {
    return "sum";
  }
  return op == "rms_norm" || op == "layer_norm" ? "input" : "";
}

/// Sees the residual stream at each norm of a program.
class StreamObserver final : public ActivationObserver {
 public:
  using Visit = std::function<void(size_t place, const ActivationRows& rows)>;
  explicit StreamObserver(Visit visit) : visit_(std::move(visit)) {}

  bool Wants(const ActivationInfo& info) override {
    if (info.role != StreamRole(info.dispatch->op())) {
      return false;
    }
    places_.push_back(&info);
    return true;
  }
  void See(const ActivationInfo& info, const ActivationRows& rows) override {
    visit_(static_cast<size_t>(std::find(places_.begin(), places_.end(), &info) - places_.begin()), rows);
  }

  const std::vector<const ActivationInfo*>& places() const { return places_; }

 private:
  Visit visit_;
  std::vector<const ActivationInfo*> places_;
};

/// Compares the streams of two engines that run the same steps, A first.
class StreamComparison {
 public:
  StreamComparison(Engine& a, Engine& b)
      : observer_a_([this](size_t place, const ActivationRows& rows) { Keep(place, rows); }),
        observer_b_([this](size_t place, const ActivationRows& rows) { Add(place, rows); }),
        scope_a_(a, &observer_a_),
        scope_b_(b, &observer_b_),
        plan_(a.plan()),
        kept_(observer_a_.places().size()),
        sums_(observer_a_.places().size()) {}

  Status Check() const {
    const auto &a = observer_a_.places(), &b = observer_b_.places();
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
      const std::string name_a = i < a.size() ? Describe(*a[i]) : "missing",
                        name_b = i < b.size() ? Describe(*b[i]) : "missing";
      if (name_a != name_b) {
        return InvalidArgument("the layers of the plans differ: norm {} of the first is {}, of the second {}", i,
                               name_a, name_b);
      }
    }
    return a.empty() ? InvalidArgument("the plans have no norm, so there are no layers to compare") : OkStatus();
  }

  std::vector<LayerDifference> Differences() const {
    std::vector<LayerDifference> differences;
    for (size_t i = 0; i < sums_.size(); ++i) {
      LayerDifference& difference = differences.emplace_back();
      if (i > 0) {
        const DispatchInfo& norm = *observer_a_.places()[i - 1]->dispatch;
        const std::string_view kinds = plan_.root().model()->layers_block_type() == nullptr
                                           ? std::string_view()
                                           : plan_.root().model()->layers_block_type()->string_view();
        difference.behind = norm.weight("weight");
        difference.layer = norm.layer;
        if (norm.layer >= 0 && norm.layer < static_cast<int64_t>(kinds.size())) {
          difference.kind = kinds[static_cast<size_t>(norm.layer)];
        }
      }
      const Sums& sums = sums_[i];
      const bool same = sums.difference == 0;  // then both may be zero
      difference.relative_error = same ? 0 : std::sqrt(sums.difference / sums.aa);
      difference.cosine = same ? 1 : sums.ab / std::sqrt(sums.aa * sums.bb);
    }
    return differences;
  }

 private:
  struct Sums {
    double aa = 0, bb = 0, ab = 0, difference = 0;
  };

  static std::string Describe(const ActivationInfo& info) {
    return fmt::format("'{}' of {} columns", info.dispatch->weight("weight"), info.columns);
  }

  void Keep(size_t place, const ActivationRows& rows) {
    kept_[place].clear();
    for (int64_t i = 0; i < rows.num_rows; ++i) {
      kept_[place].insert(kept_[place].end(), rows.row(i).begin(), rows.row(i).end());
    }
  }

  void Add(size_t place, const ActivationRows& rows) {
    const float* kept = kept_[place].data();
    Sums& sums = sums_[place];
    for (int64_t i = 0; i < rows.num_rows; ++i) {
      for (const double b : rows.row(i)) {
        const double a = *kept++;
        sums.aa += a * a;
        sums.bb += b * b;
        sums.ab += a * b;
        sums.difference += (b - a) * (b - a);
      }
    }
  }

  StreamObserver observer_a_, observer_b_;
  ObserverScope scope_a_, scope_b_;
  const Plan& plan_;
  std::vector<std::vector<float>> kept_;  // of A, by place: the rows of the step at hand
  std::vector<Sums> sums_;                // by place
};

/// Sums over the predictions of a text.
class Predictions {
 public:
  /// What both say after token `index`, and the token that comes.
  Status Add(std::span<const float> a, std::span<const float> b, int64_t index, int32_t next) {
    for (const auto& [name, row] : {std::pair("first", a), std::pair("second", b)}) {
      if (!std::all_of(row.begin(), row.end(), [](float logit) { return std::isfinite(logit); })) {
        return InvalidArgument("the logits of the {} plan after token {} are not finite", name, index);
      }
    }
    const double norm_a = LogSumExp(a), norm_b = LogSumExp(b);
    double kl = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double log_a = a[i] - norm_a, log_b = b[i] - norm_b;
      kl += std::exp(log_a) * (log_a - log_b);
    }
    kl_.push_back(std::max(kl, 0.0));  // rounding can bring it below
    const auto target = static_cast<size_t>(next);
    nll_a_ += norm_a - a[target];
    nll_b_ += norm_b - b[target];
    const auto likeliest = [](std::span<const float> row) {
      return std::max_element(row.begin(), row.end()) - row.begin();
    };
    num_agreed_ += likeliest(a) == likeliest(b);
    return OkStatus();
  }

  void Report(Comparison* comparison) {
    const auto count = static_cast<double>(kl_.size());
    double sum = 0;
    for (const double kl : kl_) {
      sum += kl;
    }
    comparison->kl_mean = sum / count;
    comparison->kl_max_token = std::max_element(kl_.begin(), kl_.end()) - kl_.begin() + 1;
    std::sort(kl_.begin(), kl_.end());
    comparison->kl_p99 = kl_[(kl_.size() * 99 + 99) / 100 - 1];  // the nearest rank
    comparison->kl_max = kl_.back();
    comparison->num_positions = static_cast<int64_t>(kl_.size());
    comparison->top1_agreement = static_cast<double>(num_agreed_) / count;
    comparison->perplexity_a = std::exp(nll_a_ / count);
    comparison->perplexity_b = std::exp(nll_b_ / count);
  }

 private:
  std::vector<double> kl_;
  double nll_a_ = 0, nll_b_ = 0;
  int64_t num_agreed_ = 0;
};

}  // namespace

Status CheckComparable(const Plan& a, const Plan& b) {
  const uint64_t vocab_a = a.root().model()->vocab_size(), vocab_b = b.root().model()->vocab_size();
  if (vocab_a != vocab_b) {
    return InvalidArgument("the plans have vocabularies of {} and {} tokens, expected the same", vocab_a, vocab_b);
  }
  const schema::Tokenizer *first = a.root().tokenizer(), *second = b.root().tokenizer();
  if (first == nullptr || second == nullptr) {
    return OkStatus();
  }
  const bool same = first->kind()->string_view() == second->kind()->string_view() &&
                    first->add_bos() == second->add_bos() && first->add_eos() == second->add_eos() &&
                    std::ranges::equal(a.SegmentBytes(*first->data()), b.SegmentBytes(*second->data()));
  return same ? OkStatus() : InvalidArgument("the plans have different tokenizers, expected the same");
}

StatusOr<Comparison> Compare(Engine& a, Engine& b, std::span<const int32_t> tokens, const CompareOptions& options) {
  RETURN_IF_ERROR(CheckComparable(a.plan(), b.plan()));
  RETURN_IF_ERROR(CheckPredictable(tokens, a.vocab_size()));
  std::optional<StreamComparison> streams;
  if (options.layers) {
    streams.emplace(a, b);
    RETURN_IF_ERROR(streams->Check());
  }
  const auto num_positions = static_cast<int64_t>(tokens.size()) - 1;
  Predictions predictions;
  Engine* const engines[] = {&a, &b};
  RETURN_IF_ERROR(
      RunInWindows(engines, tokens.first(tokens.size() - 1), options.window, [&](const ScoredStep& step) -> Status {
        for (int64_t i = 0; i < step.count; ++i) {
          RETURN_IF_ERROR(predictions.Add(step.row(0, i), step.row(1, i), step.first + i,
                                          tokens[static_cast<size_t>(step.first + i + 1)]));
        }
        if (options.progress) {
          options.progress(step.first + step.count, num_positions);
        }
        return OkStatus();
      }));
  Comparison comparison;
  comparison.num_tokens = static_cast<int64_t>(tokens.size());
  predictions.Report(&comparison);
  if (streams.has_value()) {
    comparison.layers = streams->Differences();
  }
  return comparison;
}

}  // namespace nemotron::runtime
