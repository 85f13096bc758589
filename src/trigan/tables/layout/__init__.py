"""Numbers in, text out: a table as terminal text, Markdown, CSV, LaTeX and HTML."""
