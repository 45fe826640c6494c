"""The autograder of *Model Deployment and Production*: grades labs by running them on real systems."""
