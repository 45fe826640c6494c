"""The images that pods in Docker are made of: which, from where, and what takes their place where they can't be had."""

from autograder.pods.images.catalogue import CATALOGUE, Found, Image, ImagesMissing, find, needed, platform_of

__all__ = ["CATALOGUE", "Found", "Image", "ImagesMissing", "find", "needed", "platform_of"]
