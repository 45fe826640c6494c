"""The autograder of *Model Deployment and Production*: grades labs by running them on real systems.

``up``, ``down``, ``check``, ``model_server`` and ``quiet`` are for notebooks and scripts. They live in
``autograder.notebook``, imported when one of them is first asked for: the model server and every command import
this package, at no cost.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from autograder.notebook import check, down, model_server, quiet, up

__all__ = ["check", "down", "model_server", "quiet", "up"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from autograder import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
