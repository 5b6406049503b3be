// Run the engine of a bundle once, without Python. README.md says how to build it, run.h how to
// call it.

#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/tvm_ffi.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "run.h"

namespace ffi = tvm::ffi;
namespace fs = std::filesystem;

// An input or output as the manifest declares it.
struct Declared {
  std::string name;
  std::vector<int64_t> shape;
  DLDataType dtype;
};

// Generated code loads whole vectors from the start of a tensor: TVM's kAllocAlignment.
struct AlignedAllocator {
  static constexpr size_t kAlignment = 64;

  void AllocData(DLTensor* tensor) {
    size_t size = (ffi::GetDataSize(*tensor) + kAlignment) / kAlignment * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, size);
    if (tensor->data == nullptr) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// The bytes of a file, read-only, which the system reads when they are needed.
struct MappedFile {
  void AllocData(DLTensor* tensor, const fs::path& path) {
    tensor->data = nullptr;
    const size_t size = ffi::GetDataSize(*tensor);
    if (size == 0) return;  // there is no mapping of nothing
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) throw fs::filesystem_error("not mapped", path, LastError());
    close(file);
    tensor->data = data;
  }
  void FreeData(DLTensor* tensor) {
    if (tensor->data != nullptr) munmap(tensor->data, ffi::GetDataSize(*tensor));
  }
  static std::error_code LastError() { return {errno, std::generic_category()}; }
};

// The dtype of NumPy ("<f4") that has the layout of the runtime's.
std::string Descr(DLDataType dtype) {
  static const std::string kKinds = "iuf";  // kDLInt, kDLUInt, kDLFloat
  if (dtype.code == kDLBool && dtype.bits == 8) return "|b1";
  if (dtype.code >= kKinds.size() || dtype.bits % 8 != 0 || dtype.lanes != 1) {
    throw std::runtime_error("no .npy file holds " +
                             std::string(ffi::DLDataTypeToString(dtype)));
  }
  return (dtype.bits == 8 ? "|" : "<") + (kKinds[dtype.code] + std::to_string(dtype.bits / 8));
}

tapeout::Array Describe(const ffi::Tensor& tensor) {
  return {Descr(tensor.dtype()),
          {tensor.shape().begin(), tensor.shape().end()},
          static_cast<char*>(tensor.data_ptr()) + tensor.byte_offset(),
          ffi::GetDataSize(tensor)};
}

ffi::Tensor Allocate(const Declared& declared) {
  const ffi::ShapeView shape(declared.shape.data(), declared.shape.size());
  return ffi::Tensor::FromNDAlloc(AlignedAllocator(), shape, declared.dtype,
                                  DLDevice{kDLCPU, 0});
}

ffi::Tensor ReadInput(const fs::path& path, const Declared& declared) {
  const ffi::Tensor tensor = Allocate(declared);
  tapeout::ReadNpy(path, declared.name, Describe(tensor));
  return tensor;
}

// ---- the bundle

std::vector<Declared> ReadDeclared(const ffi::json::Object& manifest, const char* side) {
  std::vector<Declared> result;
  for (const ffi::Any& item : manifest[ffi::String(side)].cast<ffi::json::Array>()) {
    auto entry = item.cast<ffi::json::Object>();
    Declared declared;
    declared.name = entry[ffi::String("name")].cast<ffi::String>();
    for (const ffi::Any& dim : entry[ffi::String("shape")].cast<ffi::json::Array>()) {
      declared.shape.push_back(dim.cast<int64_t>());
    }
    declared.dtype = ffi::StringToDLDataType(entry[ffi::String("dtype")].cast<ffi::String>());
    result.push_back(declared);
  }
  return result;
}

// Give the thread pool the number of threads that the engine was planned for. After some 50 us
// without work they sleep, and they run wherever this process may; run/engine.py says the same.
void SetThreads(const ffi::json::Object& manifest) {
  setenv("TVM_THREAD_POOL_SPIN_COUNT", "100", /*replace=*/0);
  setenv("TVM_BIND_THREADS", "0", /*replace=*/0);
  auto plan = manifest[ffi::String("plan")].cast<ffi::json::Object>();
  auto options = plan[ffi::String("options")].cast<ffi::json::Object>();
  const ffi::Any threads("threads");
  if (options.count(threads) == 0) return;
  const auto count = std::to_string(options[threads].cast<int64_t>());
  setenv("TVM_NUM_THREADS", count.c_str(), /*replace=*/0);
}

ffi::Function Lookup(const ffi::Module& module, const char* name) {
  auto function = module->GetFunction(name);
  if (!function.has_value()) throw std::runtime_error(std::string("no function ") + name);
  return function.value();
}

// The constants of an engine: a file beside it.
ffi::Tensor MapWeights(const fs::path& file, int64_t size) {
  const auto found = static_cast<int64_t>(fs::file_size(file));
  if (found != size) {
    throw std::runtime_error(file.string() + " has " + std::to_string(found) +
                             " bytes, the engine's weights are " + std::to_string(size));
  }
  return ffi::Tensor::FromNDAlloc(MappedFile(), ffi::ShapeView(&size, 1),
                                  DLDataType{kDLUInt, 8, 1}, DLDevice{kDLCPU, 0}, file);
}

void Run(const tapeout::Order& order) {
  const auto manifest = ffi::json::Parse(tapeout::ReadFile(order.bundle / "manifest.json"))
                            .cast<ffi::json::Object>();
  const auto inputs = ReadDeclared(manifest, "inputs");
  const auto outputs = ReadDeclared(manifest, "outputs");
  tapeout::RequireInputs(inputs.size(), order.files.size());
  std::vector<ffi::Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    tensors.push_back(ReadInput(order.files[i], inputs[i]));
  }
  for (const Declared& output : outputs) tensors.push_back(Allocate(output));

  SetThreads(manifest);
  const std::string engine = manifest[ffi::String("engine")].cast<ffi::String>();
  const fs::path file = fs::absolute(order.bundle / engine);
  const auto library = ffi::Module::LoadFromFile(file.string());
  const auto weights = Lookup(library, "weights_size")().cast<int64_t>();
  tensors.push_back(MapWeights(fs::path(file).replace_extension(".weights"), weights));
  const auto workspace = Lookup(library, "workspace_size")().cast<int64_t>();
  tensors.push_back(Allocate({"workspace", {workspace}, DLDataType{kDLUInt, 8, 1}}));

  const auto infer = Lookup(library, "infer");
  const std::vector<ffi::AnyView> arguments(tensors.begin(), tensors.end());
  const auto call = [&] {
    ffi::Any nothing;
    infer.CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &nothing);
  };
  call();
  for (size_t i = 0; i < outputs.size(); ++i) {
    tapeout::WriteOutput(order.output_dir, i, outputs[i].name,
                         Describe(tensors[inputs.size() + i]));
  }
  tapeout::Time(order.repeat, call);
}

int main(int argc, char** argv) { return tapeout::Main(argc, argv, Run); }
