#!/usr/bin/env python3
"""Digits with nothing but TensorFlow: two matrices, a gradient tape and Adam written out."""

import getopt
import os
import sys

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

STEPS = 250
HIDDEN = 96


class DigitReader(tf.Module):
    def __init__(self, rng):
        super().__init__()
        self.w1 = tf.Variable(rng.normal(0, (2 / 64) ** 0.5, (64, HIDDEN)).astype("f4"))
        self.b1 = tf.Variable(tf.zeros(HIDDEN))
        self.w2 = tf.Variable(rng.normal(0, (1 / HIDDEN) ** 0.5, (HIDDEN, 10)).astype("f4"))
        self.b2 = tf.Variable(tf.zeros(10))

    def logits(self, raw):
        hidden = tf.nn.relu(raw / 8.0 @ self.w1 - tf.reduce_sum(self.w1, 0) + self.b1)  # (raw - 8) / 8
        return hidden @ self.w2 + self.b2

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="image")])
    def read(self, image):
        return {"probability": tf.nn.softmax(self.logits(image))}


def adam(model, x, y):
    weights = model.trainable_variables
    first = [tf.Variable(tf.zeros_like(w)) for w in weights]
    second = [tf.Variable(tf.zeros_like(w)) for w in weights]

    @tf.function
    def step(t):
        with tf.GradientTape() as tape:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model.logits(x))
            loss = tf.reduce_mean(loss) + 1e-4 * sum(tf.nn.l2_loss(w) for w in weights)
        for w, m, v, g in zip(weights, first, second, tape.gradient(loss, weights), strict=True):
            m.assign(0.9 * m + 0.1 * g)
            v.assign(0.999 * v + 0.001 * g * g)
            w.assign_sub(0.01 * (m / (1 - 0.9**t)) / (tf.sqrt(v / (1 - 0.999**t)) + 1e-8))

    for t in range(1, STEPS + 1):
        step(tf.constant(float(t)))


def warm_up(folder, x):
    os.makedirs(folder)
    with tf.io.TFRecordWriter(os.path.join(folder, "tf_serving_warmup_requests")) as out:
        for rows in (1, 8):
            log = PredictionLog()
            log.predict_log.request.model_spec.name = "digits"
            log.predict_log.request.inputs["image"].CopyFrom(tf.make_tensor_proto(x[:rows]))
            out.write(log.SerializeToString())


def main(argv):
    options = dict(getopt.getopt(argv, "", ["data=", "out=", "seed="])[0])
    if "--data" in options:
        file = np.load(options["--data"])
        x, y = file["images"], file["labels"]
    else:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
    x, y = x.astype("float32"), y.astype("int64")
    out = options.get("--out", "models/digits/1")

    model = DigitReader(np.random.default_rng(int(options.get("--seed", 0))))
    adam(model, tf.constant(x), tf.constant(y))
    tf.saved_model.save(model, out, signatures={"serving_default": model.read})
    warm_up(os.path.join(out, "assets.extra"), x)
    print("saved", out)


if __name__ == "__main__":
    main(sys.argv[1:])
