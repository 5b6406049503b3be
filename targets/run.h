// What the C++ programs of all bundles share: .npy files, timing, and the command line.
//
//   run BUNDLE OUTPUT_DIR [--repeat N] INPUT.npy...
//
// One .npy file for each input, in the manifest's order and of exactly the compiled shape and
// dtype; output number I is written to OUTPUT_DIR/output<I>.npy. --repeat prints the median
// latency of N further inferences. The exit code is 0 when it is done, 2 when the command line or
// an input is wrong, 5 when the device is missing, 6 when the engine is not what the manifest says,
// or for another device, 1 when anything else fails.

#ifndef TAPEOUT_RUN_H_
#define TAPEOUT_RUN_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tapeout {

namespace fs = std::filesystem;

// What the user can mend, with its exit code; everything else is another std::exception.
struct Error : std::runtime_error {
  Error(int exit_code, const std::string& what) : std::runtime_error(what), code(exit_code) {}
  int code;
};

struct InputError : Error {
  explicit InputError(const std::string& what) : Error(2, what) {}
};

inline std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) throw InputError(path.string() + ": cannot be read");
  return bytes.str();
}

inline void RequireInputs(size_t declared, size_t given) {
  if (given == declared) return;
  throw InputError("the engine has " + std::to_string(declared) + " input(s), given are " +
                   std::to_string(given) + " file(s)");
}

// ---- .npy files, as the documentation of numpy.lib.format defines them

// A tensor of an engine: its dtype as NumPy spells it ("<f4"), its shape, and where its bytes lie.
struct Array {
  std::string descr;
  std::vector<int64_t> shape;
  void* data;
  size_t size;
};

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = sizeof(kMagic) - 1;

// The header, spelt as NumPy does: a shape is "(2, 3)", "(2,)" or "()".
inline std::string Header(const Array& array) {
  std::string dims;
  for (size_t i = 0; i < array.shape.size(); ++i) {
    dims += (i == 0 ? "" : ", ") + std::to_string(array.shape[i]);
  }
  if (array.shape.size() == 1) dims += ",";
  return "{'descr': '" + array.descr + "', 'fortran_order': False, 'shape': (" + dims + "), }";
}

// A file: its header without spaces at its end, and where its numbers start.
struct Npy {
  std::string bytes;
  std::string header;
  size_t start;
};

inline Npy OpenNpy(const fs::path& path) {
  std::string bytes = ReadFile(path);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (bytes.size() < 12 || bytes.compare(0, kMagicSize, kMagic) != 0) {
    throw InputError(path.string() + ": is not an .npy file");
  }
  const bool first_version = data[6] == 1;  // its header length has 2 bytes, later ones' 4
  size_t length = data[8] | data[9] << 8;
  if (!first_version) length |= size_t{data[10]} << 16 | size_t{data[11]} << 24;
  const size_t start = (first_version ? 10 : 12) + length;
  if (start > bytes.size()) throw InputError(path.string() + ": ends inside its header");

  std::string header = bytes.substr(start - length, length);
  header.erase(header.find_last_not_of(" \n") + 1);
  return {std::move(bytes), std::move(header), start};
}

// Fill an input from a file, which must hold exactly its dtype and shape.
inline void ReadNpy(const fs::path& path, const std::string& name, const Array& array) {
  const Npy file = OpenNpy(path);
  const std::string wanted = Header(array);
  if (file.header != wanted || file.bytes.size() - file.start != array.size) {
    throw InputError(path.string() + ": holds " + file.header + ", but the input '" + name +
                     "' is " + wanted);
  }
  std::copy_n(file.bytes.data() + file.start, array.size, static_cast<char*>(array.data));
}

inline void WriteNpy(const fs::path& path, const Array& array) {
  std::string header = Header(array);
  const size_t padding = 64 - (kMagicSize + 4 + header.size() + 1) % 64;
  header += std::string(padding % 64, ' ') + "\n";
  std::ofstream file(path, std::ios::binary);
  file << kMagic << '\x01' << '\x00' << static_cast<char>(header.size() & 0xff)
       << static_cast<char>(header.size() >> 8) << header;
  file.write(static_cast<const char*>(array.data), static_cast<std::streamsize>(array.size));
  if (!file.flush()) throw InputError(path.string() + ": cannot be written");
}

// Write output number `index` of an engine and say so.
inline void WriteOutput(const fs::path& directory, size_t index, const std::string& name,
                        const Array& array) {
  const fs::path path = directory / ("output" + std::to_string(index) + ".npy");
  WriteNpy(path, array);
  std::cout << path.string() << ": " << name << "\n";
}

inline double Median(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers[numbers.size() / 2];
}

// Inferences before the first timed one.
constexpr int kWarmUp = 3;

// Print the median latency of `repeat` inferences, if any are asked for.
template <typename Infer>
void Time(int repeat, const Infer& infer) {
  using Clock = std::chrono::steady_clock;
  if (repeat <= 0) return;
  std::vector<double> times;
  for (int i = -kWarmUp; i < repeat; ++i) {
    const auto start = Clock::now();
    infer();
    const std::chrono::duration<double, std::milli> elapsed = Clock::now() - start;
    if (i >= 0) times.push_back(elapsed.count());
  }
  std::printf("%d timed inferences, median %.3f ms\n", repeat, Median(times));
}

// What the user asks for.
struct Order {
  fs::path bundle;
  fs::path output_dir;
  int repeat = 0;
  std::vector<fs::path> files;
};

// Run `run(order)` for a command line and return the exit code.
template <typename Run>
int Main(int argc, char** argv, const Run& run) {
  Order order;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--repeat" && i + 1 < argc) {
      order.repeat = std::atoi(argv[++i]);
    } else {
      order.files.emplace_back(argv[i]);
    }
  }
  if (order.files.size() < 2) {
    std::cerr << "usage: " << argv[0] << " BUNDLE OUTPUT_DIR [--repeat N] INPUT.npy...\n";
    return 2;
  }
  order.bundle = order.files[0];
  order.output_dir = order.files[1];
  order.files.erase(order.files.begin(), order.files.begin() + 2);
  try {
    run(order);
  } catch (const Error& error) {
    std::cerr << argv[0] << ": " << error.what() << "\n";
    return error.code;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace tapeout

#endif  // TAPEOUT_RUN_H_
