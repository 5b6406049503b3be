// Run the engine of a bundle once, through TensorFlow Lite's C API. README.md says how to build it,
// run.h how to call it.

#if __has_include("tflite/c/c_api.h")  // LiteRT's sources
#include "tflite/c/c_api.h"
//[nnapi
#include "tflite/delegates/nnapi/nnapi_delegate_c_api.h"
//]
//[gpu
#include "tflite/delegates/gpu/delegate.h"
//]
#else  // TensorFlow's, from which LiteRT comes
#include "tensorflow/lite/c/c_api.h"
//[nnapi
#include "tensorflow/lite/delegates/nnapi/nnapi_delegate_c_api.h"
//]
//[gpu
#include "tensorflow/lite/delegates/gpu/delegate.h"
//]
#endif

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "run.h"

namespace {

constexpr int32_t kThreads = @THREADS@;

template <typename T, void (*Delete)(T*)>
struct Deleter {
  void operator()(T* object) const { Delete(object); }
};
template <typename T, void (*Delete)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Delete>>;

using Model = Owned<TfLiteModel, TfLiteModelDelete>;
using Options = Owned<TfLiteInterpreterOptions, TfLiteInterpreterOptionsDelete>;
using Interpreter = Owned<TfLiteInterpreter, TfLiteInterpreterDelete>;
//[nnapi
using Delegate = Owned<TfLiteDelegate, TfLiteNnapiDelegateDelete>;

Delegate MakeDelegate() {
  TfLiteNnapiDelegateOptions options = TfLiteNnapiDelegateOptionsDefault();
  options.max_number_delegated_partitions = 3;
  options.disallow_nnapi_cpu = 1;
  options.allow_fp16 = @LOSS@;
  return Delegate(TfLiteNnapiDelegateCreate(&options));
}
//]
//[gpu
using Delegate = Owned<TfLiteDelegate, TfLiteGpuDelegateV2Delete>;

Delegate MakeDelegate() {
  constexpr bool kLoss = @LOSS@;  // of precision: float16 instead of float32
  TfLiteGpuDelegateOptionsV2 options = TfLiteGpuDelegateOptionsV2Default();
  options.is_precision_loss_allowed = kLoss;
  options.inference_preference = TFLITE_GPU_INFERENCE_PREFERENCE_SUSTAINED_SPEED;
  options.inference_priority1 = kLoss ? TFLITE_GPU_INFERENCE_PRIORITY_MIN_LATENCY
                                      : TFLITE_GPU_INFERENCE_PRIORITY_MAX_PRECISION;
  options.max_delegated_partitions = 1;
  return Delegate(TfLiteGpuDelegateV2Create(&options));
}
//]

std::string Descr(TfLiteType type) {
  switch (type) {
    case kTfLiteFloat32: return "<f4";
    case kTfLiteFloat16: return "<f2";
    case kTfLiteFloat64: return "<f8";
    case kTfLiteInt8: return "|i1";
    case kTfLiteInt16: return "<i2";
    case kTfLiteInt32: return "<i4";
    case kTfLiteInt64: return "<i8";
    case kTfLiteUInt8: return "|u1";
    case kTfLiteUInt16: return "<u2";
    case kTfLiteUInt32: return "<u4";
    case kTfLiteUInt64: return "<u8";
    case kTfLiteBool: return "|b1";
    default: throw std::runtime_error("no .npy file holds type " + std::to_string(type));
  }
}

tapeout::Array Describe(const TfLiteTensor* tensor) {
  tapeout::Array array{Descr(TfLiteTensorType(tensor)), {}, TfLiteTensorData(tensor),
                       TfLiteTensorByteSize(tensor)};
  for (int32_t i = 0; i < TfLiteTensorNumDims(tensor); ++i) {
    array.shape.push_back(TfLiteTensorDim(tensor, i));
  }
  return array;
}

void Check(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string(what) + " failed");
}

void Run(const tapeout::Order& order) {
  const Model model(TfLiteModelCreateFromFile((order.bundle / "model.tflite").c_str()));
  Check(model != nullptr, "loading model.tflite");
  const Options options(TfLiteInterpreterOptionsCreate());
  TfLiteInterpreterOptionsSetNumThreads(options.get(), kThreads);
//[nnapi gpu
  const Delegate delegate = MakeDelegate();  // it outlives the interpreter
  Check(delegate != nullptr, "making the delegate");
  TfLiteInterpreterOptionsAddDelegate(options.get(), delegate.get());
//]
  const Interpreter interpreter(TfLiteInterpreterCreate(model.get(), options.get()));
  Check(interpreter != nullptr, "making the interpreter");
  Check(TfLiteInterpreterAllocateTensors(interpreter.get()) == kTfLiteOk, "allocating tensors");

  tapeout::RequireInputs(TfLiteInterpreterGetInputTensorCount(interpreter.get()),
                         order.files.size());
  for (size_t i = 0; i < order.files.size(); ++i) {
    const auto* tensor =
        TfLiteInterpreterGetInputTensor(interpreter.get(), static_cast<int32_t>(i));
    tapeout::ReadNpy(order.files[i], TfLiteTensorName(tensor), Describe(tensor));
  }
  const auto infer = [&interpreter] {
    Check(TfLiteInterpreterInvoke(interpreter.get()) == kTfLiteOk, "the inference");
  };
  infer();
  for (int32_t i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter.get()); ++i) {
    const TfLiteTensor* tensor = TfLiteInterpreterGetOutputTensor(interpreter.get(), i);
    tapeout::WriteOutput(order.output_dir, i, TfLiteTensorName(tensor), Describe(tensor));
  }
  tapeout::Time(order.repeat, infer);
}

}  // namespace

int main(int argc, char** argv) { return tapeout::Main(argc, argv, Run); }
