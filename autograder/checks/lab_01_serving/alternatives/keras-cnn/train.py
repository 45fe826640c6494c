"""A small convolutional network on 8 x 8 images, written with Keras' functional API."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2


def get_data(path):
    if path:
        archive = np.load(path)
        return archive["images"].astype("float32"), archive["labels"].astype("int64")
    bunch = load_digits()
    return bunch.data.astype("float32"), bunch.target.astype("int64")


def make_model(images):
    normalize = layers.Normalization(axis=None, name="normalize")
    normalize.adapt(images)

    flat = keras.Input((64,), name="flat_image")
    x = normalize(flat)
    x = layers.Reshape((8, 8, 1))(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dense(10)(x)
    return keras.Model(flat, layers.Softmax(name="class_probabilities")(x), name="digits_cnn")


def warmup_record(images):
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="digits", signature_name="serving_default"),
        inputs={"flat_image": tf.make_tensor_proto(images, dtype=tf.float32)},
    )
    entry = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return entry.SerializeToString()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data")
    ap.add_argument("--out", default="models/digits/1")
    ap.add_argument("--seed", type=int, default=42)
    ns = ap.parse_args()

    keras.utils.set_random_seed(ns.seed)
    images, labels = get_data(ns.data)
    model = make_model(images)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    model.optimizer.learning_rate = 0.004
    history = model.fit(images, labels, epochs=15, batch_size=64, verbose=0)
    print("training accuracy", round(history.history["accuracy"][-1], 4))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        name="serving_default",
        fn=model.call,
        input_signature=[keras.InputSpec(shape=(None, 64), dtype="float32", name="flat_image")],
    )
    archive.write_out(ns.out, verbose=False)

    extra = Path(ns.out) / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        writer.write(warmup_record(images[:1]))
        writer.write(warmup_record(images[:64]))


if __name__ == "__main__":
    main()
