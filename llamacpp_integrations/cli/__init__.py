"""The command ``llamacpp``. This module is its entry point, and imports nothing before it heeds Ctrl-C."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Runs :func:`llamacpp_integrations.cli.app.main`; Ctrl-C during its import ends with status 130, too."""
    try:
        from llamacpp_integrations.cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
