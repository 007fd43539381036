"""The page: watch a camera, teach labels and correct samples from a browser.

Nothing here is imported by the rest of `device`; it needs the extra ``serve`` (Starlette and uvicorn).
"""
