package tapeout;

import android.content.Context;
import android.content.res.AssetFileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
//[gpu
import org.tensorflow.lite.gpu.CompatibilityList;
import org.tensorflow.lite.gpu.GpuDelegateFactory;
//]
//[nnapi
import org.tensorflow.lite.nnapi.NnApiDelegate;
//]

/**
 * The compiled model, an asset of the app, on the delegate and the threads that it was planned for.
 *
 * <p>Fill {@link #inputs}, call {@link #run}, read {@link #outputs}. For each tensor there is one
 * direct buffer in native byte order; names, shapes and dtypes are those of the bundle's
 * manifest.json. One thread at a time.
 */
public final class Engine implements AutoCloseable {
  private static final String SIGNATURE = "serving_default";

  public final Map<String, ByteBuffer> inputs;
  public final Map<String, ByteBuffer> outputs;

  //[nnapi
  private final NnApiDelegate delegate =
      new NnApiDelegate(
          new NnApiDelegate.Options()
              .setMaxNumberOfDelegatedPartitions(3)
              .setUseNnapiCpu(false)
              .setAllowFp16(@LOSS@));
  //]
  private final Interpreter interpreter;

  public Engine(Context context) throws IOException {
    this(context, "model.tflite");
  }

  public Engine(Context context, String asset) throws IOException {
    interpreter = new Interpreter(map(context, asset), options());
    Map<String, ByteBuffer> given = new LinkedHashMap<>();
    for (String name : interpreter.getSignatureInputs(SIGNATURE)) {
      given.put(name, buffer(interpreter.getInputTensorFromSignature(name, SIGNATURE)));
    }
    Map<String, ByteBuffer> made = new LinkedHashMap<>();
    for (String name : interpreter.getSignatureOutputs(SIGNATURE)) {
      made.put(name, buffer(interpreter.getOutputTensorFromSignature(name, SIGNATURE)));
    }
    inputs = Collections.unmodifiableMap(given);
    outputs = Collections.unmodifiableMap(made);
  }

  /** Compute {@link #outputs} of {@link #inputs}. */
  public void run() {
    rewindOutputs();
    interpreter.runSignature(
        Collections.unmodifiableMap(inputs), Collections.unmodifiableMap(outputs), SIGNATURE);
    rewindOutputs();
  }

  @Override
  public void close() {
    interpreter.close();
    //[nnapi
    delegate.close();
    //]
  }

  private Interpreter.Options options() {
    Interpreter.Options options = new Interpreter.Options().setNumThreads(@THREADS@);
    //[nnapi
    options.addDelegate(delegate);
    //]
    //[gpu
    try (CompatibilityList gpus = new CompatibilityList()) {
      if (!gpus.isDelegateSupportedOnThisDevice()) {
        throw new IllegalStateException(
            "LiteRT does not run on the GPU of this phone; compile the model for its CPU");
      }
    }
    options.addDelegateFactory(
        new GpuDelegateFactory(
            new GpuDelegateFactory.Options()
                .setPrecisionLossAllowed(@LOSS@)
                .setInferencePreference(
                    GpuDelegateFactory.Options.INFERENCE_PREFERENCE_SUSTAINED_SPEED)));
    //]
    return options;
  }

  private void rewindOutputs() {
    for (ByteBuffer output : outputs.values()) {
      output.rewind();
    }
  }

  private static ByteBuffer buffer(Tensor tensor) {
    return ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder());
  }

  /** An asset is mapped as it lies in the package, so it must be stored uncompressed. */
  private static ByteBuffer map(Context context, String asset) throws IOException {
    try (AssetFileDescriptor file = context.getAssets().openFd(asset);
        FileInputStream stream = new FileInputStream(file.getFileDescriptor())) {
      return stream
          .getChannel()
          .map(FileChannel.MapMode.READ_ONLY, file.getStartOffset(), file.getDeclaredLength());
    }
  }
}
