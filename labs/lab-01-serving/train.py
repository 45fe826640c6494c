"""Train a reader of handwritten digits and export it for TensorFlow Serving.

The export is a version folder: a SavedModel whose signature takes raw pixels, and the requests that warm
it up. It appears all at once, and a version that exists is never written again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

MODEL = "digits"
INPUT = "pixels"
BRIGHTEST = 16.0
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"


def load(data: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 64) float32 with pixels 0 to 16, and their labels (n,) int64 in 0 to 9."""
    if data is None:
        digits = load_digits()
        return digits.data.astype(np.float32), digits.target.astype(np.int64)
    with np.load(data) as arrays:
        return arrays["images"], arrays["labels"]


def split(
    images: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and labels, then the fifth that is held out of training."""
    order = np.random.default_rng(seed).permutation(len(images))
    held_out, kept = np.split(order, [len(images) // 5])
    return images[kept], labels[kept], images[held_out], labels[held_out]


def build() -> keras.Model:
    """Return an untrained model: (n, 64) raw pixels in, (n, 10) probabilities out."""
    # YOUR CODE HERE
    raise NotImplementedError("train.py: a part is still to be written")


def fit(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Train the model in place, in a few seconds."""
    # YOUR CODE HERE
    raise NotImplementedError("train.py: a part is still to be written")


def write_warm_up(version: Path, images: np.ndarray) -> None:
    """Write the requests that the server replays on this version before it calls it AVAILABLE.

    A TFRecord file of PredictionLog messages: a single image and a batch, as real traffic will bring.
    """
    # YOUR CODE HERE
    raise NotImplementedError("train.py: a part is still to be written")


def export(model: keras.Model, images: np.ndarray, out: Path) -> None:
    """Write the version folder `out`: complete from the first moment that a server could see it."""
    # YOUR CODE HERE
    raise NotImplementedError("train.py: a part is still to be written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FILE.npz", help="images and labels; else load_digits")
    parser.add_argument("--out", type=Path, default=Path("models/digits/1"), help="version folder to create")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same model")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        sys.exit(f"{args.out} exists: a version is never changed. Give another --out, then publish it.")

    keras.utils.set_random_seed(args.seed)
    tf.config.experimental.enable_op_determinism()
    images, labels, held_out_images, held_out_labels = split(*load(args.data), args.seed)
    model = build()
    fit(model, images, labels)
    answers = model.predict(held_out_images, verbose=0).argmax(axis=1)
    export(model, images, args.out)
    print(f"{args.out}: reads {np.mean(answers == held_out_labels):.1%} of {len(answers)} held-out digits")


if __name__ == "__main__":
    main()
