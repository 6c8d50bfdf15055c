"""The page in the browser; the only place that imports gradio."""
