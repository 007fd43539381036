"""The page: watch a camera, teach labels and correct samples from a browser.

The rest of `device` does not import this package; it needs the extra ``serve`` (Starlette and uvicorn).
"""
