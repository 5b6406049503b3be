// What main.cc uses of the public header of this name, declared anew; see ../../c/c_api.h.

#ifndef TENSORFLOW_LITE_DELEGATES_NNAPI_NNAPI_DELEGATE_C_API_H_
#define TENSORFLOW_LITE_DELEGATES_NNAPI_NNAPI_DELEGATE_C_API_H_

#include "tensorflow/lite/c/c_api.h"

extern "C" {

struct TfLiteNnapiDelegateOptions {
  int execution_preference;  // an enumeration
  const char* accelerator_name;
  const char* cache_dir;
  const char* model_token;
  int disallow_nnapi_cpu;
  int allow_fp16;
  int max_number_delegated_partitions;
  void* nnapi_support_library_handle;
};

TfLiteNnapiDelegateOptions TfLiteNnapiDelegateOptionsDefault();
TfLiteDelegate* TfLiteNnapiDelegateCreate(const TfLiteNnapiDelegateOptions*);
void TfLiteNnapiDelegateDelete(TfLiteDelegate*);

}  // extern "C"

#endif  // TENSORFLOW_LITE_DELEGATES_NNAPI_NNAPI_DELEGATE_C_API_H_
