"""A folder of phrases: phrase files, folders ``templates`` and ``patterns`` with files, and ``other-words.tsv``."""

from __future__ import annotations

from pathlib import Path

from shared.errors import StorageError
from shared.models.phrase_files import OTHER_WORDS, Rank, content_lines, phrase_files, read_file, read_phrases
from shared.models.phrase_patterns import PATTERNS_FOLDER, read_patterns
from shared.models.phrase_template_files import read_templates


class FolderContent:
    """What the files of a folder say, read at once.

    Args:
        folder: where they are; none of them need be there.
        rank: whose they are; imported files have their own.

    Raises:
        UsageError: a line is malformed, or a phrase has two translations in one file.
        StorageError: the folder or a file of it cannot be read.
    """

    def __init__(self, folder: Path, rank: Rank) -> None:
        try:
            folder.stat()
        except OSError as error:
            raise StorageError(f"Cannot read {folder}: {error.strerror}") from error
        self.phrases = [
            phrase
            for file in phrase_files(folder)
            for phrase in read_phrases(
                read_file(file.path), file.language, str(file.path), Rank.IMPORTED if file.imported else rank
            )
        ]
        self.phrases += [
            phrase
            for path in sorted((folder / PATTERNS_FOLDER).glob("??.tsv"))
            for phrase in read_patterns(read_file(path), path.stem, str(path), rank)
        ]
        self.templates = [
            template
            for path in sorted((folder / "templates").glob("??.tsv"))
            for template in read_templates(read_file(path), path.stem, str(path), rank)
        ]
        others = folder / OTHER_WORDS
        self.other_words = (
            [line for _, line in content_lines(read_file(others), str(others))] if others.exists() else []
        )
