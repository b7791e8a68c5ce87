"""User code: found by import path or loaded as plug-ins, called by its signature, and hashed.

A name such as `mynets:MyNet` is an import path: a module, and what to take from it. Modules are searched in the
recipe's folder, then in the folders of its plug-in files, then in the working directory, then where Python searches.
The code runs with the user's rights. Imports the standard library, `errors`, `registry` and `files.storage` only;
`data`, `models`, `distill`, `export` and `workflows` import it.
"""

from kdbench.plugins.calling import called, describe_failure, is_users, place
from kdbench.plugins.import_path import imported
from kdbench.plugins.modules import activate
from kdbench.plugins.recording import Recording, recording
from kdbench.plugins.search import with_paths
from kdbench.plugins.sources import Source, located_sources, sources_of

__all__ = [
    "Recording",
    "Source",
    "activate",
    "called",
    "describe_failure",
    "imported",
    "is_users",
    "located_sources",
    "place",
    "recording",
    "sources_of",
    "with_paths",
]
