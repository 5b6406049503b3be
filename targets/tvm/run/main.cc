// Run the engine of a bundle once, without Python. README.md says how to build it.
//
//   run BUNDLE OUTPUT_DIR [--repeat N] INPUT.npy...
//
// One .npy file for each input, in the manifest's order and of exactly the compiled shape and
// dtype; output number I is written to OUTPUT_DIR/output<I>.npy. --repeat prints the median
// latency of N further inferences. The exit code is 0 when it is done, 2 when the command line or
// an input is wrong, 1 when anything else fails.

#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/tvm_ffi.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;
namespace fs = std::filesystem;

// What the user can mend; everything else is a std::runtime_error or an error of the runtime.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

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

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) throw InputError(path.string() + ": cannot be read");
  return bytes.str();
}

// ---- .npy files, as the documentation of numpy.lib.format defines them

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = sizeof(kMagic) - 1;

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

// The header of an array, spelt as NumPy does: "(2, 3)", "(2,)", "()".
std::string Header(DLDataType dtype, const std::vector<int64_t>& shape) {
  std::string dims;
  for (size_t i = 0; i < shape.size(); ++i) {
    dims += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  if (shape.size() == 1) dims += ",";
  return "{'descr': '" + Descr(dtype) + "', 'fortran_order': False, 'shape': (" + dims + "), }";
}

ffi::Tensor ReadNpy(const fs::path& path, const Declared& declared) {
  const std::string bytes = ReadFile(path);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (bytes.size() < 12 || bytes.compare(0, kMagicSize, kMagic) != 0) {
    throw InputError(path.string() + ": is not an .npy file");
  }
  const bool first_version = data[6] == 1;  // its header length has 2 bytes, later ones' 4
  size_t length = data[8] | data[9] << 8;
  if (!first_version) length |= size_t{data[10]} << 16 | size_t{data[11]} << 24;
  const size_t start = (first_version ? 10 : 12) + length;
  if (start > bytes.size()) throw InputError(path.string() + ": ends inside its header");

  const ffi::ShapeView shape(declared.shape.data(), declared.shape.size());
  auto tensor = ffi::Tensor::FromNDAlloc(AlignedAllocator(), shape, declared.dtype,
                                         DLDevice{kDLCPU, 0});
  const size_t size = ffi::GetDataSize(tensor);
  std::string header = bytes.substr(start - length, length);
  header.erase(header.find_last_not_of(" \n") + 1);
  const std::string wanted = Header(declared.dtype, declared.shape);
  if (header != wanted || bytes.size() - start != size) {
    throw InputError(path.string() + ": holds " + header + ", but the input '" + declared.name +
                     "' is " + wanted);
  }
  std::copy_n(bytes.data() + start, size, static_cast<char*>(tensor.data_ptr()));
  return tensor;
}

void WriteNpy(const fs::path& path, const ffi::Tensor& tensor) {
  std::string header = Header(tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()});
  const size_t padding = 64 - (kMagicSize + 4 + header.size() + 1) % 64;
  header += std::string(padding % 64, ' ') + "\n";
  std::ofstream file(path, std::ios::binary);
  file << kMagic << '\x01' << '\x00' << static_cast<char>(header.size() & 0xff)
       << static_cast<char>(header.size() >> 8) << header;
  file.write(static_cast<const char*>(tensor.data_ptr()) + tensor.byte_offset(),
             static_cast<std::streamsize>(ffi::GetDataSize(tensor)));
  if (!file.flush()) throw InputError(path.string() + ": cannot be written");
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

// Give the thread pool the number of threads that the engine was planned for.
void SetThreads(const ffi::json::Object& manifest) {
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

double MedianMilliseconds(int repeat, const ffi::Function& infer,
                          const std::vector<ffi::AnyView>& arguments) {
  using Clock = std::chrono::steady_clock;
  constexpr int kWarmUp = 3;
  std::vector<double> times;
  for (int i = -kWarmUp; i < repeat; ++i) {
    ffi::Any result;
    const auto start = Clock::now();
    infer.CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
    const std::chrono::duration<double, std::milli> elapsed = Clock::now() - start;
    if (i >= 0) times.push_back(elapsed.count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void Run(const fs::path& bundle, const fs::path& output_dir, int repeat,
         const std::vector<fs::path>& files) {
  const auto manifest =
      ffi::json::Parse(ReadFile(bundle / "manifest.json")).cast<ffi::json::Object>();
  const auto inputs = ReadDeclared(manifest, "inputs");
  const auto outputs = ReadDeclared(manifest, "outputs");
  if (files.size() != inputs.size()) {
    throw InputError("the engine has " + std::to_string(inputs.size()) + " input(s), given are " +
                     std::to_string(files.size()) + " file(s)");
  }
  std::vector<ffi::Tensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) tensors.push_back(ReadNpy(files[i], inputs[i]));

  SetThreads(manifest);
  const std::string engine = manifest[ffi::String("engine")].cast<ffi::String>();
  const auto library = ffi::Module::LoadFromFile(fs::absolute(bundle / engine).string());
  const auto machine = Lookup(library, "vm_load_executable")().cast<ffi::Module>();
  Lookup(machine, "vm_initialization")(static_cast<int>(kDLCPU), 0, 2);  // 2: pooled allocator
  const auto infer = Lookup(machine, "main");

  const std::vector<ffi::AnyView> arguments(tensors.begin(), tensors.end());
  ffi::Any result;
  infer.CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
  std::vector<ffi::Tensor> results;
  if (auto single = result.as<ffi::Tensor>()) {
    results.push_back(*single);
  } else {
    for (const ffi::Tensor& tensor : result.cast<ffi::Array<ffi::Tensor>>()) {
      results.push_back(tensor);
    }
  }
  if (results.size() != outputs.size()) {
    throw std::runtime_error("the engine returned " + std::to_string(results.size()) +
                             " tensors, the manifest declares " + std::to_string(outputs.size()));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const fs::path path = output_dir / ("output" + std::to_string(i) + ".npy");
    WriteNpy(path, results[i]);
    std::cout << path.string() << ": " << outputs[i].name << "\n";
  }
  if (repeat > 0) {
    std::printf("%d timed inferences, median %.3f ms\n", repeat,
                MedianMilliseconds(repeat, infer, arguments));
  }
}

int main(int argc, char** argv) {
  int repeat = 0;
  std::vector<fs::path> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--repeat" && i + 1 < argc) {
      repeat = std::atoi(argv[++i]);
    } else {
      paths.emplace_back(argv[i]);
    }
  }
  if (paths.size() < 2) {
    std::cerr << "usage: " << argv[0] << " BUNDLE OUTPUT_DIR [--repeat N] INPUT.npy...\n";
    return 2;
  }
  try {
    Run(paths[0], paths[1], repeat, {paths.begin() + 2, paths.end()});
  } catch (const InputError& error) {
    std::cerr << argv[0] << ": " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}
