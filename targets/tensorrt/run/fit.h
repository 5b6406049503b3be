// Whether an engine is the one of its bundle and fits a machine, asked before it is loaded: what
// fit.py and header.py do in Python. header.py says what is known of an engine's header.

#ifndef TAPEOUT_FIT_H_
#define TAPEOUT_FIT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "run.h"
#include "sha256.h"

namespace tapeout {

using Lines = std::vector<std::string>;

inline std::string Join(const Lines& parts, const std::string& between) {
  std::string joined;
  for (size_t i = 0; i < parts.size(); ++i) joined += (i == 0 ? "" : between) + parts[i];
  return joined;
}

// A word for a shell, whatever is in it.
inline std::string Quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char letter : word) quoted += letter == '\'' ? "'\\''" : std::string(1, letter);
  return quoted + "'";
}

// A GPU of this machine; its compute capability as "8.9".
struct Gpu {
  int index;
  std::string name;
  std::string capability;
};

// A capability and its bit in the mask of an engine's header.
constexpr std::pair<const char*, uint64_t> kBits[] = {{"7.5", 0x01},  {"8.0", 0x02},
                                                      {"8.6", 0x04},  {"8.9", 0x08},
                                                      {"12.0", 0x10}, {"12.1", 0x20}};

inline Lines CapabilitiesOf(uint64_t mask) {
  Lines names;
  for (const auto& [name, bit] : kBits) {
    if (mask & bit) names.push_back(name);
    mask &= ~bit;
  }
  if (mask != 0) names.push_back("others");
  return names;
}

// What the header of an engine says; its numbers are little-endian.
struct EngineHeader {
  static constexpr size_t kSize = 0x28;

  uint64_t size;
  std::string version;
  uint64_t mask;

  static uint64_t Number(const std::string& bytes, size_t at) {
    uint64_t number = 0;
    for (size_t i = 8; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
    return number;
  }

  // Whether bytes are an engine's; of others nothing may be read.
  static bool IsOne(const std::string& bytes) {
    return bytes.size() >= kSize && bytes.compare(0, 4, "vtrt") == 0 &&
           bytes.compare(0x1c, 4, "vtrt") == 0;
  }

  explicit EngineHeader(const std::string& bytes)
      : size(Number(bytes, 0x10)), mask(Number(bytes, 0x20)) {
    Lines numbers;
    for (size_t at = 0x18; at < 0x1c; ++at) {
      numbers.push_back(std::to_string(static_cast<uint8_t>(bytes[at])));
    }
    version = Join(numbers, ".");
  }
};

// What the manifest says of the engine.
struct Record {
  std::string version;  // of the TensorRT-RTX that loads it; an engine runs by no other
  Lines capabilities;   // of the GPUs that it serves
  size_t size;
  std::string sha256;
  std::string model, device, precision;  // what it was compiled from, and how

  Record(const Json& manifest, const std::string& engine)
      : version(manifest["runtime"]["version"].String()),
        size(0),
        model(manifest["model"]["file"].String()),
        device(manifest["device"]["name"].String()),
        precision(manifest["plan"]["precision"].String()) {
    const Json& gpu = manifest["device"]["profile"]["gpu"];
    capabilities.push_back(gpu["capability"].String());
    for (const Json& also : gpu["also"].Items()) capabilities.push_back(also.String());
    for (const Json& artifact : manifest["artifacts"].Items()) {
      if (artifact["path"].String() != engine) continue;
      size = static_cast<size_t>(artifact["size"].Integer());
      sha256 = artifact["sha256"].String();
    }
  }

  bool Serves(const Gpu& gpu) const {
    return std::count(capabilities.begin(), capabilities.end(), gpu.capability) > 0;
  }

  bool ServesOneOf(const std::vector<Gpu>& gpus) const {
    return std::any_of(gpus.begin(), gpus.end(), [this](const Gpu& gpu) { return Serves(gpu); });
  }

  // Everything in which a file is not the engine of the bundle.
  Lines Damage(const std::string& bytes) const {
    Lines found;
    const std::string digest = Sha256::Of(bytes);
    if (bytes.size() != size || digest != sha256) {
      found.push_back("the file has " + std::to_string(bytes.size()) + " bytes and sha256 " +
                      digest + ", the manifest says " + std::to_string(size) + " and " + sha256);
    }
    if (!EngineHeader::IsOne(bytes)) {
      found.push_back("the file is no engine of TensorRT-RTX");
      return found;
    }
    const EngineHeader header(bytes);
    if (header.size != bytes.size()) {
      found.push_back("the file has " + std::to_string(bytes.size()) + " bytes, its header says " +
                      std::to_string(header.size) + ": a part is missing");
    }
    if (header.version != version) {
      found.push_back("the file was built by TensorRT-RTX " + header.version + ", not " + version);
    }
    Lines wanted = capabilities, has = CapabilitiesOf(header.mask);
    std::sort(wanted.begin(), wanted.end());
    std::sort(has.begin(), has.end());
    if (has != wanted) {
      found.push_back("the file is for compute capability " + Join(has, ", ") + ", not " +
                      Join(wanted, ", "));
    }
    return found;
  }

  // Why a version of the library cannot load the engine; empty if it can.
  Lines WrongVersion(const std::string& installed) const {
    if (installed == version) return {};
    return {"TensorRT-RTX " + installed + " is installed, the engine is for " + version};
  }

  // Why none of this machine's GPUs is served; empty if one is.
  Lines WrongGpus(const std::vector<Gpu>& gpus) const {
    Lines found;
    if (ServesOneOf(gpus)) return found;
    for (const Gpu& gpu : gpus) {
      found.push_back("GPU " + std::to_string(gpu.index) + " (" + gpu.name +
                      "), of compute capability " + gpu.capability +
                      " is not one that the engine is for: " + Join(capabilities, " or "));
    }
    return found;
  }

  // How to get an engine that fits: the command, and for which device.
  std::string Rebuild(const std::vector<Gpu>& gpus) const {
    const bool fits = gpus.empty() || ServesOneOf(gpus);
    const std::string name = fits ? device : "NAME";
    const std::string output = fs::path(model).stem().string() + "-" + name + ".bundle";
    const std::string rebuild =
        "rebuild it, with the same data, shapes and budget: tapeout compile " + Quoted(model) +
        " --device " + Quoted(name) + " --precision " + Quoted(precision) + " -o " +
        Quoted(output);
    if (fits) return rebuild;
    Lines own;
    for (const Gpu& gpu : gpus) {
      if (std::count(own.begin(), own.end(), gpu.capability) == 0) own.push_back(gpu.capability);
    }
    return rebuild + " (NAME is a device of compute capability " + Join(own, " or ") +
           ": `tapeout devices --kind gpu`)";
  }
};

}  // namespace tapeout

#endif  // TAPEOUT_FIT_H_
