"""What lies in a source and is no part of any set, told by names alone. `listing` asks, and so does `predict`."""

from __future__ import annotations

JUNK_FILES = {".ds_store", "thumbs.db", "desktop.ini", ".gitattributes", ".gitignore", ".gitkeep", ".directory"}
JUNK_FILES |= {"ehthumbs.db", "icon\r", ".localized"}
JUNK_FOLDERS = {"__macosx", ".git", ".ipynb_checkpoints", ".cache", ".trash", ".trashes", ".spotlight-v100", "@eadir"}
JUNK_FOLDERS |= {".fseventsd", "$recycle.bin", "lost+found", ".idea", ".vscode", "__pycache__", ".huggingface"}
JUNK_FOLDERS |= {".thumbnails", ".thumbs", ".svn", ".hg", ".dvc"}
"""What systems and tools leave behind, in lower case; a file that begins with `._` is macOS's."""

DOCUMENTS = {"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation", "about"}
"""How texts for people are called."""

PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".part", ".crdownload", ".tmp")
"""How files end that are packed once more, or have not come whole."""


def left_out(path: str) -> str | None:
    """Why nobody who reads images or their labels gets to see a file; None if they do. `predict` asks, too."""
    *folders, name = path.split("/")
    if name.lower() in JUNK_FILES or name.startswith("._") or any(part.lower() in JUNK_FOLDERS for part in folders):
        return "left behind by a system or tool"
    return "hidden, its name begins with a dot" if name.startswith(".") else None


def is_document(path: str) -> bool:
    """Whether the name is that of a text for people, which is no part of any set."""
    stem, _, ending = path.lower().partition(".")
    return stem in DOCUMENTS or ending in ("md", "pdf", "html", "rst")
