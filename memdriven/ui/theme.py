"""What turns Gradio's page into this one: theme, style sheet, script."""

from __future__ import annotations

from importlib.resources import files

from memdriven.ui.startup import gr

SANS = ("Inter", "Helvetica Neue", "Segoe UI", "Roboto", "Liberation Sans", "Arial", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")
HEAD = '<meta name="color-scheme" content="light dark">'


def theme() -> gr.themes.Base:
    """Return a theme of fonts that the visitor has, and of the style sheet's own colours."""
    quiet = gr.themes.Base(
        primary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        font=list(SANS),
        font_mono=list(MONO),
        radius_size=gr.themes.sizes.radius_md,
    )
    return quiet.set(
        body_background_fill="var(--md-paper)",
        body_background_fill_dark="var(--md-paper)",
        body_text_color="var(--md-ink)",
        body_text_color_dark="var(--md-ink)",
        background_fill_primary="var(--md-surface)",
        background_fill_primary_dark="var(--md-surface)",
        border_color_primary="var(--md-line)",
        border_color_primary_dark="var(--md-line)",
        input_background_fill="var(--md-surface)",
        input_background_fill_dark="var(--md-surface)",
        input_border_color="var(--md-line)",
        input_border_color_dark="var(--md-line)",
        slider_color="var(--md-memory)",
        slider_color_dark="var(--md-memory)",
        block_label_text_color="var(--md-quiet)",
        block_label_text_color_dark="var(--md-quiet)",
    )


def style_sheet() -> str:
    """Return the page's CSS."""
    folder = files("memdriven.ui")
    names = ("page.css", "tabs.css", "inside.css")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)


def script() -> str:
    """Return the page's JavaScript, a function that Gradio calls once the page is there."""
    return files("memdriven.ui").joinpath("page.js").read_text("utf-8")
