"""The entry point of the command ``llamacpp``, which imports nothing before it heeds Ctrl-C."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs :func:`llamacpp_core.cli.main`; Ctrl-C while it is being imported ends with status 130, too."""
    try:
        from llamacpp_core.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
