"""The hub client's errors as this package's, each with its fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError, LlamaCppError, ModelDownloadError, ModelNotFoundError

if TYPE_CHECKING:
    from llamacpp_core.models.hub import HubAddress

__all__ = ["translated"]


@contextmanager
def translated(address: HubAddress, hub: Any) -> Iterator[None]:
    """Turns whatever the hub's client raises inside the block into an error of this package."""
    try:
        yield
    except LlamaCppError:
        raise
    except Exception as error:  # the client raises its own, its HTTP library's and the system's
        raise _translate(error, address, hub.errors) from error


def _translate(error: Exception, address: HubAddress, errors: Any) -> LlamaCppError:
    cause = error.__cause__
    hidden = isinstance(error, ValueError | errors.LocalEntryNotFoundError)
    if hidden and isinstance(cause, Exception) and getattr(cause, "response", None) is not None:
        return _translate(cause, address, errors)  # the client hides the answer in "not in the cache"
    page = f"https://huggingface.co/{address.repo}"
    login = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return ModelDownloadError(f"{address.repo} is gated: accept its terms on {page}, then {login}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"no repository {address.repo} on the Hugging Face Hub; if it is private, {login}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(f"{address.repo} has no revision {address.revision!r}")
    if isinstance(error, errors.HFValidationError):
        return InvalidParameterError(f"{address.repo!r} is not a repository name: {error}", parameter="model")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return ModelDownloadError(
            f"cannot reach the Hugging Face Hub for {address}, which is not in the local cache;"
            " check the network"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return ModelNotFoundError(f"{address.repo} has no such file: {address.pattern}")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return ModelDownloadError(f"the Hugging Face Hub refuses {address.repo} ({status}): {login}")
    if status is not None:
        return ModelDownloadError(f"the Hugging Face Hub answered {status} for {address}; try again later")
    reason = " ".join(str(error).split()) or type(error).__name__
    return ModelDownloadError(
        f"fetching {address} failed: {reason}; check the network and the free disk space"
    )
