#include "runtime/base/cgroup.h"

#include <filesystem>
#include <fstream>

namespace nemotron::runtime {
namespace {

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

}  // namespace

std::vector<CgroupFolder> CgroupFolders(std::string_view controller, const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::vector<CgroupFolder> folders;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "hierarchy:controllers:path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const int version = controllers.empty() ? 2 : 1;
    std::string mount = mounts;
    if (version == 2) {
      mount += IsFolder(mounts + "/unified") ? "/unified" : "";  // beside version 1
    } else if (("," + controllers + ",").find("," + std::string(controller) + ",") != std::string::npos) {
      mount = mounts + "/" + std::string(controller);
      mount = IsFolder(mount) ? mount : mounts + "/" + controllers;  // "cpu,cpuacct", of which "cpu" is but a link
    } else {
      continue;
    }
    std::string path = line.substr(second + 1);
    if (path == "/" || path.find("..") != std::string::npos) {
      path.clear();  // ..: the process is outside of what its namespace shows
    }
    while (true) {
      folders.push_back({mount + path, version});
      const size_t slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos) {
        break;
      }
      path.resize(slash);
    }
  }
  return folders;
}

}  // namespace nemotron::runtime
