"""Reports: tables, figures and curves as one HTML and one Markdown file, from recorded runs alone.

`gather` reads result lines, figures and training logs; `contents` makes `tables` of them beside
the `published` numbers; `markdown` and `page` write them out.
"""
