#ifndef RUNTIME_BASE_CGROUP_H_
#define RUNTIME_BASE_CGROUP_H_

#include <string>
#include <string_view>
#include <vector>

namespace nemotron::runtime {

/// The files of a control group, whose limits hold for this process.
struct CgroupFolder {
  std::string path;
  int version;  ///< 1 or 2, which name their files differently
};

/// The control groups that this process is in and all their ancestors, each of which may set a limit; of version 1
/// those of `controller` ("memory", "cpu"). Folders need not exist. `root` stands before /proc and /sys and is for
/// tests.
std::vector<CgroupFolder> CgroupFolders(std::string_view controller, const std::string& root = "");

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_CGROUP_H_
