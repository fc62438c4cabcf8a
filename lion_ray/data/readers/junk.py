"""Files in a source that are no part of a dataset, recognised by name alone.

`listing` and `unlabelled` leave them out.
"""

from __future__ import annotations

JUNK_FILES = {".ds_store", "thumbs.db", "desktop.ini", ".gitattributes", ".gitignore", ".gitkeep", ".directory"}
JUNK_FILES |= {"ehthumbs.db", "icon\r", ".localized"}
JUNK_FOLDERS = {"__macosx", ".git", ".ipynb_checkpoints", ".cache", ".trash", ".trashes", ".spotlight-v100", "@eadir"}
JUNK_FOLDERS |= {".fseventsd", "$recycle.bin", "lost+found", ".idea", ".vscode", "__pycache__", ".huggingface"}
JUNK_FOLDERS |= {".thumbnails", ".thumbs", ".svn", ".hg", ".dvc"}
"""Files and folders that systems and tools create, in lower case. macOS creates files that begin with `._`."""

DOCUMENTS = {"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation", "about"}
"""Names of documents, without their endings."""

TEXTS = ("txt", "csv", "tsv", "json", "xml", "yaml", "yml", "log", "md", "pdf", "html", "rst")
"""Endings of files that are certainly no image."""

PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".part", ".crdownload", ".tmp")
"""Endings of compressed and of incompletely downloaded files."""


def exclusion_reason(path: str) -> str | None:
    """Why a file is no part of the dataset; None if it may be one."""
    *folders, name = path.split("/")
    if name.lower() in JUNK_FILES or name.startswith("._") or any(part.lower() in JUNK_FOLDERS for part in folders):
        return "left behind by a system or tool"
    return "hidden, its name begins with a dot" if name.startswith(".") else None


def is_document(path: str) -> bool:
    """Whether the name is that of a document such as a README, which is no part of a dataset."""
    stem, _, ending = path.lower().partition(".")
    return stem in DOCUMENTS or ending in ("md", "pdf", "html", "rst")


def is_text(path: str) -> bool:
    """Whether the ending is that of notes and annotations, which are no images."""
    return path.lower().rpartition(".")[2] in TEXTS
