"""onnxruntime-web in another process: a page in headless Chromium, or Node.js, that runs and times models.

`installed` locates the npm package and the programs, `engine` starts one and communicates with it over HTTP on the
loopback address; the .mjs files run there. Standard library and numpy only, because measuring processes import it.
"""
