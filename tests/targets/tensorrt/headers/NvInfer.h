// A stand-in for TensorRT for RTX: it records, on the standard error, what it is called for. Its
// engine has the tensors x and y, of float32, and gives y = 2 x + 1. What main.cc uses is declared
// as NvInferRuntime.h of NVIDIA declares it.
//
// The environment says what it is: VERSION of the library; ROWS, the first dimension of x, -1 where
// it varies, in two profiles: 1 to 64 and 2 to 4; FAILS, the function that fails.

#ifndef STAND_IN_INFER_H_
#define STAND_IN_INFER_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace nvinfer1 {

struct Dims {
  static constexpr int32_t MAX_DIMS{8};
  int32_t nbDims;
  int64_t d[MAX_DIMS];
};

enum class DataType : int32_t { kFLOAT, kHALF, kINT8, kINT32, kBOOL, kUINT8, kFP8, kBF16, kINT64 };
enum class TensorIOMode : int32_t { kNONE, kINPUT, kOUTPUT };
enum class OptProfileSelector : int32_t { kMIN, kOPT, kMAX };
enum class ExecutionContextAllocationStrategy : int32_t {
  kSTATIC,
  kON_PROFILE_CHANGE,
  kUSER_MANAGED
};

class ILogger {
 public:
  enum class Severity : int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  virtual void log(Severity severity, char const* msg) noexcept = 0;
  virtual ~ILogger() = default;
};

class IExecutionContext {
 public:
  explicit IExecutionContext(int64_t rows) : dims_{2, {rows, 3}} {}
  virtual ~IExecutionContext() = default;

  bool setOptimizationProfileAsync(int32_t index, cudaStream_t) noexcept {
    return stand_in::Note("setOptimizationProfileAsync", " " + std::to_string(index));
  }
  bool setInputShape(char const* name, Dims const& dims) noexcept {
    dims_ = dims;
    return stand_in::Note("setInputShape", std::string(" ") + name + " " +
                                               std::to_string(dims.d[0]) + "x" +
                                               std::to_string(dims.d[1]));
  }
  Dims getTensorShape(char const*) const noexcept { return dims_; }
  bool setTensorAddress(char const* name, void* data) noexcept {
    addresses_[name] = static_cast<float*>(data);
    return stand_in::Note("setTensorAddress", std::string(" ") + name);
  }
  bool enqueueV3(cudaStream_t) noexcept {
    for (int64_t i = 0; i < dims_.d[0] * dims_.d[1]; ++i) {
      addresses_["y"][i] = 2 * addresses_["x"][i] + 1;
    }
    return stand_in::Note("enqueueV3");
  }

 private:
  Dims dims_;
  std::map<std::string, float*> addresses_;
};

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;

  IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
    const auto how = std::to_string(static_cast<int>(strategy));
    if (!stand_in::Note("createExecutionContext", " " + how)) return nullptr;
    return new IExecutionContext(Rows());
  }
  int32_t getNbIOTensors() const noexcept { return 2; }
  int32_t getNbOptimizationProfiles() const noexcept { return Rows() < 0 ? 2 : 1; }
  TensorIOMode getTensorIOMode(char const* name) const noexcept {
    const std::string is = name;
    return is == "x" ? TensorIOMode::kINPUT : is == "y" ? TensorIOMode::kOUTPUT
                                                        : TensorIOMode::kNONE;
  }
  DataType getTensorDataType(char const*) const noexcept { return DataType::kFLOAT; }
  Dims getTensorShape(char const*) const noexcept { return {2, {Rows(), 3}}; }
  Dims getProfileShape(char const*, int32_t index, OptProfileSelector select) const noexcept {
    const bool most = select == OptProfileSelector::kMAX;
    return {2, {index == 0 ? (most ? 64 : 1) : (most ? 4 : 2), 3}};
  }
  int64_t getDeviceMemorySizeForProfileV2(int32_t index) const noexcept { return 4096 * (index + 1); }

 private:
  static int64_t Rows() { return std::atoi(stand_in::Environment("ROWS").c_str()); }
};

class IRuntime {
 public:
  explicit IRuntime(ILogger& logger) : logger_(logger) {}
  virtual ~IRuntime() = default;

  ICudaEngine* deserializeCudaEngine(void const*, std::size_t size) noexcept {
    if (stand_in::Note("deserializeCudaEngine", " " + std::to_string(size))) return new ICudaEngine;
    logger_.log(ILogger::Severity::kERROR, "the engine is of another world");
    return nullptr;
  }

 private:
  ILogger& logger_;
};

inline IRuntime* createInferRuntime(ILogger& logger) noexcept { return new IRuntime(logger); }

}  // namespace nvinfer1

namespace stand_in {

inline int32_t VersionPart(int part) {
  int parts[4] = {};
  std::sscanf(Environment("VERSION").c_str(), "%d.%d.%d.%d", parts, parts + 1, parts + 2,
              parts + 3);
  return parts[part];
}

}  // namespace stand_in

inline int32_t getInferLibMajorVersion() noexcept { return stand_in::VersionPart(0); }
inline int32_t getInferLibMinorVersion() noexcept { return stand_in::VersionPart(1); }
inline int32_t getInferLibPatchVersion() noexcept { return stand_in::VersionPart(2); }
inline int32_t getInferLibBuildVersion() noexcept { return stand_in::VersionPart(3); }

#endif  // STAND_IN_INFER_H_
