// What main.cc uses of the public header of this name, declared anew; see ../../c/c_api.h.

#ifndef TENSORFLOW_LITE_DELEGATES_GPU_DELEGATE_H_
#define TENSORFLOW_LITE_DELEGATES_GPU_DELEGATE_H_

#include "tensorflow/lite/c/c_api.h"

extern "C" {

enum { TFLITE_GPU_INFERENCE_PREFERENCE_SUSTAINED_SPEED = 1 };

enum {
  TFLITE_GPU_INFERENCE_PRIORITY_MAX_PRECISION = 1,
  TFLITE_GPU_INFERENCE_PRIORITY_MIN_LATENCY = 2,
};

struct TfLiteGpuDelegateOptionsV2 {
  int32_t is_precision_loss_allowed;
  int32_t inference_preference;
  int32_t inference_priority1;
  int32_t inference_priority2;
  int32_t inference_priority3;
  int64_t experimental_flags;
  int32_t max_delegated_partitions;
  const char* serialization_dir;
  const char* model_token;
};

TfLiteGpuDelegateOptionsV2 TfLiteGpuDelegateOptionsV2Default();
TfLiteDelegate* TfLiteGpuDelegateV2Create(const TfLiteGpuDelegateOptionsV2*);
void TfLiteGpuDelegateV2Delete(TfLiteDelegate*);

}  // extern "C"

#endif  // TENSORFLOW_LITE_DELEGATES_GPU_DELEGATE_H_
