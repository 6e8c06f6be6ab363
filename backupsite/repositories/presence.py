"""Whether a repository is there, as far as that is seen without a key of it."""

from __future__ import annotations

from agents.errors import AgentError
from backupsite.repositories.making import repository_path
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.nodes import is_here
from backupsite.repositories.storage import require_storage


def why_not_there(repository: Repository) -> str:
    """Given a repository in a directory, return in a sentence why it cannot be read now; "" when it is there.
    Of an object store, or on another node: "", nobody waits for an answer of it here."""
    if repository.storage.kind != Storage.DIRECTORY or not is_here(repository.storage):
        return ""
    try:
        require_storage(repository.storage)
        is_there = (repository_path(repository) / "config").is_file()
    except AgentError as error:
        return error.message
    except OSError as error:
        return f"{repository_path(repository)} cannot be read: {error.strerror}."
    return "" if is_there else f"There is no repository in {repository_path(repository)} any more."
