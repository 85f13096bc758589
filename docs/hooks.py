"""MkDocs hooks: the pages of ``experiments/`` belong to the site, under links that also work in the repository."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SUFFIXES = {".md", ".yaml", ".csv", ".png"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages, study files, published figures and pictures of ``experiments/``."""
    for path in sorted((ROOT / "experiments").rglob("*")):
        if path.suffix in SUFFIXES:
            place = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between ``docs/`` and ``experiments/`` to where the pages lie in the site."""
    if not page.file.src_uri.startswith("experiments/"):
        depth = page.file.src_uri.count("/")
        return markdown.replace(f"({'../' * (depth + 1)}experiments/", f"({'../' * depth}experiments/")
    markdown = re.sub(r"\(((?:\.\./)+)docs/", r"(\1", markdown)
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+benchmarks/[^)]+\)", r"`\1`", markdown)
