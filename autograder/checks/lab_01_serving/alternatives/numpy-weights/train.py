"""scikit-learn finds the weights, numpy carries them, TensorFlow only writes them down."""

import time

import click
import numpy as np
import tensorflow as tf
from sklearn import datasets
from sklearn.neural_network import MLPClassifier
from tensorflow_serving.apis import prediction_log_pb2


class Frozen(tf.Module):
    """A two-layer network whose weights are constants of the graph."""

    def __init__(self, mlp, center, spread):
        super().__init__(name="frozen_digits")
        (w1, w2), (b1, b2) = mlp.coefs_, mlp.intercepts_
        # fold the standardization into the first layer, so that it takes raw pixels
        self.w1 = tf.constant(w1 / spread[:, None], tf.float32)
        self.b1 = tf.constant(b1 - (center / spread) @ w1, tf.float32)
        self.w2 = tf.constant(w2, tf.float32)
        self.b2 = tf.constant(b2, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="x")])
    def __call__(self, x):
        h = tf.nn.relu(tf.linalg.matmul(x, self.w1) + self.b1)
        return tf.nn.softmax(tf.linalg.matmul(h, self.w2) + self.b2)


@click.command()
@click.option("--data", type=click.Path(exists=True, dir_okay=False), default=None)
@click.option("--out", type=click.Path(), default="models/digits/1", show_default=True)
@click.option("--seed", type=int, default=1234)
def train(data, out, seed):
    started = time.monotonic()
    if data is None:
        images, labels = datasets.load_digits(return_X_y=True)
    else:
        arrays = np.load(data)
        images, labels = arrays["images"], arrays["labels"]
    images = images.astype(np.float64)
    center, spread = images.mean(0), images.std(0) + 1.0

    mlp = MLPClassifier(
        hidden_layer_sizes=(80,), alpha=0.5, learning_rate_init=0.005, batch_size=128, random_state=seed
    )
    for _ in range(40):
        mlp.partial_fit((images - center) / spread, labels, classes=np.arange(10))

    net = Frozen(mlp, center, spread)
    tf.saved_model.save(net, out, signatures=net.__call__)

    tf.io.gfile.makedirs(f"{out}/assets.extra")
    with tf.io.TFRecordWriter(f"{out}/assets.extra/tf_serving_warmup_requests") as warmup:
        for count in (1, 2, 4, 8, 16):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = "digits"
            request.model_spec.signature_name = "serving_default"
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(images[:count].astype(np.float32)))
            warmup.write(log.SerializeToString())
    click.echo(f"{out} written after {time.monotonic() - started:.1f} s", err=True)


if __name__ == "__main__":
    train()
