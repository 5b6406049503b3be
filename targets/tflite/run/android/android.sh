#!/usr/bin/env bash
# Measure the model of this bundle on a phone, on the delegate and the threads it was planned for.
#
#   android.sh BENCHMARK_MODEL [RUNS]
#
# BENCHMARK_MODEL is TensorFlow Lite's program of that name, built for the phone; README.md says
# where to get it. ANDROID_SERIAL chooses among several phones. The exit code is that of the
# program, 2 when the command line is wrong, 5 when adb or a phone is missing.
set -euo pipefail

fail() {
  printf 'android.sh: %s\n' "$2" >&2
  exit "$1"
}

[[ $# -eq 1 || $# -eq 2 ]] || fail 2 'usage: android.sh BENCHMARK_MODEL [RUNS]'
benchmark=$1
runs=${2:-100}
[[ -f $benchmark ]] || fail 2 "there is no file $benchmark"
[[ $runs =~ ^[1-9][0-9]*$ ]] || fail 2 "RUNS is a number of 1 or more, not $runs"
model=$(dirname -- "${BASH_SOURCE[0]}")/../model.tflite
[[ -f $model ]] || fail 2 "there is no file $model: run this in the folder run/ of a bundle"
command -v adb >/dev/null || fail 5 'adb is not installed (Debian: apt-get install adb)'
adb get-state >/dev/null || fail 5 'adb reaches no phone, or several: see adb devices'

folder=/data/local/tmp/tapeout
flags=(
  "--graph=$folder/model.tflite"
  '--num_threads=@THREADS@'
  '--warmup_runs=3'
  "--num_runs=$runs"
#[cpu
  '--use_xnnpack=true'
#]
#[nnapi
  '--use_nnapi=true'
  '--max_delegated_partitions=3'
  '--disable_nnapi_cpu=true'
  '--nnapi_allow_fp16=@LOSS@'
#]
#[gpu
  '--use_gpu=true'
  '--max_delegated_partitions=1'
  '--gpu_precision_loss_allowed=@LOSS@'
  '--gpu_inference_for_sustained_speed=true'
#]
)
adb shell "mkdir -p $folder"
adb push "$model" "$folder/model.tflite"
adb push "$benchmark" "$folder/benchmark_model"
adb shell "chmod 755 $folder/benchmark_model"
printf '%s, Android API level %s\n' \
  "$(adb shell getprop ro.product.model)" "$(adb shell getprop ro.build.version.sdk)"
adb shell "$folder/benchmark_model ${flags[*]}"
