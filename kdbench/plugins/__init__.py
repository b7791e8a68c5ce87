"""User code: located by import path or loaded as plug-ins, called by its signature, and hashed.

A name such as `mynets:MyNet` is an import path: a module, and an object in it. Modules are searched in the recipe's
folder, then in the folders of its plug-in files, then in the working directory, then on Python's path.
The code runs with the user's rights. Imports the standard library, `errors`, `registry` and `files.storage` only;
`data`, `models`, `distill`, `export` and `workflows` import it.
"""

from kdbench.plugins.calling import called, describe_failure, location, raised_by_user_code
from kdbench.plugins.import_path import imported
from kdbench.plugins.modules import activate
from kdbench.plugins.recording import Recording, recording
from kdbench.plugins.search import with_paths
from kdbench.plugins.sources import Source, located_sources

__all__ = [
    "Recording",
    "Source",
    "activate",
    "called",
    "describe_failure",
    "imported",
    "located_sources",
    "location",
    "raised_by_user_code",
    "recording",
    "with_paths",
]
