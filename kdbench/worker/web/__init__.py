"""onnxruntime-web in another process: a page in headless Chromium, or Node.js, that runs and times models.

`installed` finds the npm package and the programs, `engine` starts one and talks to it over HTTP on this machine's own
address; the .mjs files are what runs there. Standard library and numpy only: measuring processes import it.
"""
