package tapeout

import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
//[gpu
import org.tensorflow.lite.gpu.CompatibilityList
import org.tensorflow.lite.gpu.GpuDelegateFactory
//]
//[nnapi
import org.tensorflow.lite.nnapi.NnApiDelegate
//]

/**
 * The compiled model, an asset of the app, on the delegate and the threads that it was planned for.
 *
 * Fill [inputs], call [run], read [outputs]. For each tensor there is one direct buffer in native
 * byte order; names, shapes and dtypes are those of the bundle's manifest.json. One thread at a
 * time.
 */
class Engine(context: Context, asset: String = "model.tflite") : AutoCloseable {
    //[nnapi
    private val delegate = NnApiDelegate(
        NnApiDelegate.Options()
            .setMaxNumberOfDelegatedPartitions(3)
            .setUseNnapiCpu(false)
            .setAllowFp16(@LOSS@)
    )

    //]
    private val interpreter = Interpreter(map(context, asset), options())

    val inputs: Map<String, ByteBuffer> =
        interpreter.getSignatureInputs(SIGNATURE).associate { name ->
            name to buffer(interpreter.getInputTensorFromSignature(name, SIGNATURE))
        }

    val outputs: Map<String, ByteBuffer> =
        interpreter.getSignatureOutputs(SIGNATURE).associate { name ->
            name to buffer(interpreter.getOutputTensorFromSignature(name, SIGNATURE))
        }

    /** Compute [outputs] of [inputs]. */
    fun run() {
        outputs.values.forEach { it.rewind() }
        interpreter.runSignature(inputs, outputs, SIGNATURE)
        outputs.values.forEach { it.rewind() }
    }

    override fun close() {
        interpreter.close()
        //[nnapi
        delegate.close()
        //]
    }

    private fun options(): Interpreter.Options {
        val options = Interpreter.Options().setNumThreads(@THREADS@)
        //[nnapi
        options.addDelegate(delegate)
        //]
        //[gpu
        CompatibilityList().use { gpus ->
            check(gpus.isDelegateSupportedOnThisDevice) {
                "LiteRT does not run on the GPU of this phone; compile the model for its CPU"
            }
        }
        options.addDelegateFactory(
            GpuDelegateFactory(
                GpuDelegateFactory.Options()
                    .setPrecisionLossAllowed(@LOSS@)
                    .setInferencePreference(
                        GpuDelegateFactory.Options.INFERENCE_PREFERENCE_SUSTAINED_SPEED
                    )
            )
        )
        //]
        return options
    }

    private companion object {
        const val SIGNATURE = "serving_default"

        fun buffer(tensor: Tensor): ByteBuffer =
            ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder())

        /** An asset is mapped as it lies in the package, so it must be stored uncompressed. */
        fun map(context: Context, asset: String): ByteBuffer =
            context.assets.openFd(asset).use { file ->
                FileInputStream(file.fileDescriptor).use { stream ->
                    stream.channel.map(
                        FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength
                    )
                }
            }
    }
}
