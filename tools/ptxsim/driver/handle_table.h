#ifndef TOOLS_PTXSIM_DRIVER_HANDLE_TABLE_H_
#define TOOLS_PTXSIM_DRIVER_HANDLE_TABLE_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

namespace nemotron::ptxsim {

/// Above the small numbers that cuda.h gives special streams; under the driver's lock.
inline uintptr_t NextHandle() {
  static uintptr_t last = 0x1000;
  return last += 0x10;
}

/// Live objects of one kind by the opaque handles that programs hold. A handle is a number that no object of any kind
/// ever gets again, so that whatever a program passes can be looked up.
template <typename Handle, typename T>
class HandleTable {
 public:
  Handle Add(std::unique_ptr<T> object) {
    const auto handle = reinterpret_cast<Handle>(NextHandle());
    objects_.emplace(handle, std::move(object));
    return handle;
  }
  /// Null if there is none.
  T* Find(Handle handle) const {
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second.get();
  }
  bool Remove(Handle handle) { return objects_.erase(handle) != 0; }
  template <typename Body>
  void ForEach(Body body) {
    for (auto& [handle, object] : objects_) {
      body(*object);
    }
  }
  template <typename Predicate>
  void RemoveIf(Predicate predicate) {
    std::erase_if(objects_, [&](const auto& entry) { return predicate(*entry.second); });
  }

 private:
  std::unordered_map<Handle, std::unique_ptr<T>> objects_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_HANDLE_TABLE_H_
