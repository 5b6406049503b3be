// Run the engine of a bundle once, by TensorRT for RTX, on the first GPU that it serves. README.md
// says how to build it, run.h how to call it.
//
// It has been run by a recording stand-in for the two libraries only, not yet on a GPU.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fit.h"
#include "json.h"
#include "run.h"

namespace {

namespace nv = nvinfer1;
using tapeout::Gpu;
using tapeout::Record;

constexpr int kMissing = 5, kUnfit = 6;  // exit codes

// Keeps what the library said last of what went wrong.
class Logger : public nv::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) last_ = text;
  }
  void Require(bool done, const std::string& what) const {
    if (!done) throw std::runtime_error(last_.empty() ? what : what + ": " + last_);
  }

 private:
  std::string last_;
};

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

std::vector<Gpu> Gpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    throw tapeout::Error(kMissing, std::string("CUDA does not start (") +
                                       cudaGetErrorString(error) +
                                       "): it needs a GPU, NVIDIA driver 580 or newer");
  }
  std::vector<Gpu> gpus;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    Check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    gpus.push_back({i, properties.name,
                    std::to_string(properties.major) + "." + std::to_string(properties.minor)});
  }
  return gpus;
}

std::string InstalledVersion() {
  const std::array<int32_t, 4> numbers = {getInferLibMajorVersion(), getInferLibMinorVersion(),
                                          getInferLibPatchVersion(), getInferLibBuildVersion()};
  std::string version;
  for (const int32_t number : numbers) {
    version += (version.empty() ? "" : ".") + std::to_string(number);
  }
  return version;
}

// The GPU to run on, if everything fits; throws all that does not.
Gpu Choose(const Record& record, const std::string& engine) {
  tapeout::Lines problems = record.Damage(engine);
  const auto add = [&problems](const tapeout::Lines& more) {
    problems.insert(problems.end(), more.begin(), more.end());
  };
  add(record.WrongVersion(InstalledVersion()));
  std::vector<Gpu> gpus;
  try {
    gpus = Gpus();
  } catch (const tapeout::Error& error) {
    if (problems.empty()) throw;
    problems.push_back(error.what());
  }
  add(record.WrongGpus(gpus));
  if (!problems.empty()) {
    throw tapeout::Error(kUnfit, "the engine is not for this machine, or not what was compiled:"
                                 "\n  " + tapeout::Join(problems, "\n  ") + "\n  " +
                                     record.Rebuild(gpus));
  }
  return *std::find_if(gpus.begin(), gpus.end(),
                       [&record](const Gpu& gpu) { return record.Serves(gpu); });
}

// Memory for one tensor, on the GPU and, page-locked, in the host.
class Buffer {
 public:
  explicit Buffer(size_t size) : size_(std::max<size_t>(size, 1)) {
    Check(cudaMalloc(&device_, size_), "cudaMalloc");
    Check(cudaMallocHost(&host_, size_), "cudaMallocHost");
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
    std::swap(host_, other.host_);
    return *this;
  }
  ~Buffer() {
    if (device_ != nullptr) cudaFree(device_);
    if (host_ != nullptr) cudaFreeHost(host_);
  }
  void* device() const { return device_; }
  void* host() const { return host_; }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
  void* device_ = nullptr;
  void* host_ = nullptr;
};

// An input or output, as the manifest declares it.
struct Tensor {
  std::string name;
  std::string descr;  // the dtype, as NumPy spells it
};

struct Dtype {
  nv::DataType type;
  const char* name;
  const char* descr;
  size_t size;
};

constexpr Dtype kDtypes[] = {
    {nv::DataType::kFLOAT, "float32", "<f4", 4}, {nv::DataType::kHALF, "float16", "<f2", 2},
    {nv::DataType::kINT8, "int8", "|i1", 1},     {nv::DataType::kUINT8, "uint8", "|u1", 1},
    {nv::DataType::kINT32, "int32", "<i4", 4},   {nv::DataType::kINT64, "int64", "<i8", 8},
    {nv::DataType::kBOOL, "bool", "|b1", 1},
};

template <typename Is>
const Dtype& FindDtype(const std::string& what, const Is& is) {
  const auto found = std::find_if(std::begin(kDtypes), std::end(kDtypes), is);
  if (found == std::end(kDtypes)) throw std::runtime_error("no .npy file holds " + what);
  return *found;
}

std::vector<Tensor> ReadTensors(const tapeout::Json& list) {
  std::vector<Tensor> tensors;
  for (const tapeout::Json& item : list.Items()) {
    const std::string& name = item["dtype"].String();
    const Dtype& dtype = FindDtype(name, [&name](const Dtype& one) { return one.name == name; });
    tensors.push_back({item["name"].String(), dtype.descr});
  }
  return tensors;
}

// The shape in the header of an .npy file; what else is in it, ReadNpy looks at.
nv::Dims ShapeOf(const std::filesystem::path& path) {
  const std::string header = tapeout::OpenNpy(path).header;
  nv::Dims dims{};
  size_t at = header.find("'shape': (");
  at = at == std::string::npos ? header.size() : at + 10;
  while (at < header.size() && header[at] != ')') {
    const size_t end = header.find_first_not_of("0123456789", at);
    if (end == std::string::npos) break;
    if (end > at && dims.nbDims < nv::Dims::MAX_DIMS) {
      dims.d[dims.nbDims++] = std::strtoll(header.c_str() + at, nullptr, 10);
    }
    at = std::max(end, at + 1);
  }
  return dims;
}

bool Within(const nv::Dims& dims, const nv::Dims& least, const nv::Dims& most) {
  bool within = dims.nbDims == least.nbDims;
  for (int i = 0; within && i < dims.nbDims; ++i) {
    within = least.d[i] <= dims.d[i] && dims.d[i] <= most.d[i];
  }
  return within;
}

int64_t Elements(const nv::Dims& dims) {
  int64_t count = 1;
  for (int i = 0; i < dims.nbDims; ++i) count *= dims.d[i];
  return count;
}

// Throw where the size of a dimension that varies is not the multiple that the manifest wants.
void RequireMultiples(const tapeout::Json& manifest, const std::vector<Tensor>& inputs,
                      const std::vector<nv::Dims>& shapes) {
  const auto entry = manifest.Members().find("shapes");
  if (entry == manifest.Members().end()) return;
  for (const auto& [dim, multiple] : entry->second["multiples"].Members()) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto& names = entry->second["inputs"][inputs[i].name].Items();
      for (int axis = 0; axis < shapes[i].nbDims; ++axis) {
        const bool is_it = names.at(axis).IsString() && names.at(axis).String() == dim;
        if (!is_it || shapes[i].d[axis] % multiple.Integer() == 0) continue;
        throw tapeout::InputError(dim + " is " + std::to_string(shapes[i].d[axis]) +
                                  ", not a multiple of " + std::to_string(multiple.Integer()));
      }
    }
  }
}

// A loaded engine, with its memory and a stream on the GPU.
class Session {
 public:
  Session(const std::string& engine, const tapeout::Json& manifest)
      : manifest_(manifest),
        inputs_(ReadTensors(manifest["inputs"])),
        outputs_(ReadTensors(manifest["outputs"])) {
    Check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    for (cudaEvent_t& event : events_) Check(cudaEventCreate(&event), "cudaEventCreate");
    runtime_.reset(nv::createInferRuntime(logger_));
    logger_.Require(runtime_ != nullptr, "TensorRT-RTX does not start");
    engine_.reset(runtime_->deserializeCudaEngine(engine.data(), engine.size()));
    logger_.Require(engine_ != nullptr, "TensorRT-RTX does not take the engine");
    context_.reset(engine_->createExecutionContext(
        nv::ExecutionContextAllocationStrategy::kON_PROFILE_CHANGE));
    logger_.Require(context_ != nullptr, "the engine gets no execution context");
    RequireTensors(inputs_, nv::TensorIOMode::kINPUT);
    RequireTensors(outputs_, nv::TensorIOMode::kOUTPUT);
    if (engine_->getNbIOTensors() != static_cast<int32_t>(inputs_.size() + outputs_.size())) {
      throw std::runtime_error("the engine has tensors that the manifest does not declare");
    }
  }
  ~Session() {
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    cudaStreamDestroy(stream_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Read the inputs and give every tensor its shape and its memory.
  void Load(const std::vector<std::filesystem::path>& files) {
    tapeout::RequireInputs(inputs_.size(), files.size());
    std::vector<nv::Dims> shapes;
    for (const auto& file : files) shapes.push_back(ShapeOf(file));
    if (IsDynamic()) SetShapes(shapes);
    for (const Tensor& tensor : inputs_) input_buffers_.push_back(Bind(tensor));
    for (const Tensor& tensor : outputs_) output_buffers_.push_back(Bind(tensor));
    for (size_t i = 0; i < files.size(); ++i) {
      tapeout::ReadNpy(files[i], inputs_[i].name, Describe(inputs_[i], input_buffers_[i]));
    }
  }

  void Run() {
    Send();
    Infer();
    Fetch();
    Check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  void Write(const std::filesystem::path& directory) const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      tapeout::WriteOutput(directory, i, outputs_[i].name,
                           Describe(outputs_[i], output_buffers_[i]));
    }
  }

  void PrintMemory() const {
    size_t interface = 0;
    for (const Buffer& buffer : input_buffers_) interface += buffer.size();
    for (const Buffer& buffer : output_buffers_) interface += buffer.size();
    std::printf("memory of the device, activations (optimization profile %d): %lld B\n", profile_,
                static_cast<long long>(engine_->getDeviceMemorySizeForProfileV2(profile_)));
    std::printf("memory of the device, inputs and outputs: %zu B\n", interface);
  }

  // Time inferences by the clock of the GPU, the copies to and from page-locked memory included.
  void Time(int repeat) {
    if (repeat <= 0) return;
    std::vector<double> whole;
    std::array<std::vector<double>, kSteps> steps;
    for (int i = -tapeout::kWarmUp; i < repeat; ++i) {
      Mark(0), Send(), Mark(1), Infer(), Mark(2), Fetch(), Mark(3);
      Check(cudaEventSynchronize(events_[kSteps]), "cudaEventSynchronize");
      if (i < 0) continue;
      whole.push_back(Elapsed(0, kSteps));
      for (int step = 0; step < kSteps; ++step) steps[step].push_back(Elapsed(step, step + 1));
    }
    std::printf(
        "%d timed inferences, median %.3f ms, inputs to the GPU %.3f ms, inference %.3f ms, "
        "outputs to the host %.3f ms\n",
        repeat, tapeout::Median(whole), tapeout::Median(steps[0]), tapeout::Median(steps[1]),
        tapeout::Median(steps[2]));
  }

 private:
  static constexpr int kSteps = 3;

  void RequireTensors(const std::vector<Tensor>& tensors, nv::TensorIOMode mode) const {
    for (const Tensor& tensor : tensors) {
      const char* name = tensor.name.c_str();
      if (engine_->getTensorIOMode(name) != mode || DtypeOf(tensor).descr != tensor.descr) {
        throw std::runtime_error("the engine's '" + tensor.name + "' is not the manifest's");
      }
    }
  }

  const Dtype& DtypeOf(const Tensor& tensor) const {
    const nv::DataType type = engine_->getTensorDataType(tensor.name.c_str());
    return FindDtype("type " + std::to_string(static_cast<int>(type)),
                     [type](const Dtype& one) { return one.type == type; });
  }

  bool IsDynamic() const {
    return std::any_of(inputs_.begin(), inputs_.end(), [this](const Tensor& tensor) {
      const nv::Dims dims = engine_->getTensorShape(tensor.name.c_str());
      return std::any_of(dims.d, dims.d + dims.nbDims, [](int64_t dim) { return dim < 0; });
    });
  }

  void SetShapes(const std::vector<nv::Dims>& shapes) {
    profile_ = ProfileFor(shapes);  // which have as many dimensions as the inputs, then
    RequireMultiples(manifest_, inputs_, shapes);
    logger_.Require(context_->setOptimizationProfileAsync(profile_, stream_),
                    "the optimization profile cannot be set");
    for (size_t i = 0; i < inputs_.size(); ++i) {
      logger_.Require(context_->setInputShape(inputs_[i].name.c_str(), shapes[i]),
                      "the shape of '" + inputs_[i].name + "' cannot be set");
    }
  }

  // The optimization profile that holds the shapes; of several the narrowest.
  int32_t ProfileFor(const std::vector<nv::Dims>& shapes) const {
    int32_t best = -1;
    int64_t narrowest = 0;
    for (int32_t profile = 0; profile < engine_->getNbOptimizationProfiles(); ++profile) {
      bool holds = true;
      int64_t room = 0;
      for (size_t i = 0; i < inputs_.size(); ++i) {
        const auto limit = [&](nv::OptProfileSelector which) {
          return engine_->getProfileShape(inputs_[i].name.c_str(), profile, which);
        };
        const nv::Dims most = limit(nv::OptProfileSelector::kMAX);
        holds = holds && Within(shapes[i], limit(nv::OptProfileSelector::kMIN), most);
        room += Elements(most);
      }
      if (holds && (best < 0 || room < narrowest)) best = profile, narrowest = room;
    }
    if (best < 0) throw tapeout::InputError("no optimization profile holds the shapes given");
    return best;
  }

  size_t SizeOf(const Tensor& tensor) const {
    const nv::Dims dims = context_->getTensorShape(tensor.name.c_str());
    const bool known = std::all_of(dims.d, dims.d + std::max(dims.nbDims, 0),
                                   [](int64_t dim) { return dim >= 0; });
    logger_.Require(dims.nbDims >= 0 && known, "the shape of '" + tensor.name + "' is unknown");
    return static_cast<size_t>(Elements(dims)) * DtypeOf(tensor).size;
  }

  Buffer Bind(const Tensor& tensor) {
    Buffer buffer(SizeOf(tensor));
    logger_.Require(context_->setTensorAddress(tensor.name.c_str(), buffer.device()),
                    "'" + tensor.name + "' cannot be given memory");
    return buffer;
  }

  tapeout::Array Describe(const Tensor& tensor, const Buffer& buffer) const {
    const nv::Dims dims = context_->getTensorShape(tensor.name.c_str());
    return {tensor.descr, {dims.d, dims.d + dims.nbDims}, buffer.host(), SizeOf(tensor)};
  }

  void Send() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Buffer& buffer = input_buffers_[i];
      Check(cudaMemcpyAsync(buffer.device(), buffer.host(), SizeOf(inputs_[i]),
                            cudaMemcpyHostToDevice, stream_),
            "cudaMemcpyAsync");
    }
  }

  void Infer() { logger_.Require(context_->enqueueV3(stream_), "the inference fails"); }

  void Fetch() {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Buffer& buffer = output_buffers_[i];
      Check(cudaMemcpyAsync(buffer.host(), buffer.device(), SizeOf(outputs_[i]),
                            cudaMemcpyDeviceToHost, stream_),
            "cudaMemcpyAsync");
    }
  }

  void Mark(int event) { Check(cudaEventRecord(events_[event], stream_), "cudaEventRecord"); }

  double Elapsed(int start, int end) const {
    float milliseconds = 0;
    Check(cudaEventElapsedTime(&milliseconds, events_[start], events_[end]),
          "cudaEventElapsedTime");
    return milliseconds;
  }

  const tapeout::Json& manifest_;
  std::vector<Tensor> inputs_, outputs_;
  Logger logger_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, kSteps + 1> events_{};
  std::unique_ptr<nv::IRuntime> runtime_;  // each outlives what it made
  std::unique_ptr<nv::ICudaEngine> engine_;
  std::unique_ptr<nv::IExecutionContext> context_;
  int32_t profile_ = 0;
  std::vector<Buffer> input_buffers_, output_buffers_;
};

void Run(const tapeout::Order& order) {
  const auto manifest = tapeout::Json::Parse(tapeout::ReadFile(order.bundle / "manifest.json"));
  const std::string& name = manifest["engine"].String();
  if (std::filesystem::path(name).filename() != name) {
    throw std::runtime_error("the engine '" + name + "' is not the name of a file in the bundle");
  }
  const std::string engine = tapeout::ReadFile(order.bundle / name);
  const Gpu gpu = Choose(Record(manifest, name), engine);
  Check(cudaSetDevice(gpu.index), "cudaSetDevice");

  Session session(engine, manifest);
  session.Load(order.files);
  session.Run();
  session.Write(order.output_dir);
  session.PrintMemory();
  session.Time(order.repeat);
}

}  // namespace

int main(int argc, char** argv) { return tapeout::Main(argc, argv, Run); }
