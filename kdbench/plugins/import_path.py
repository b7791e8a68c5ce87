"""Import paths: from `pkg.module:name` to the object that it names."""

from typing import Any

from kdbench.errors import InputError
from kdbench.plugins.calling import describe_failure
from kdbench.plugins.modules import import_module
from kdbench.registry import suggestion


def imported(path: str, *, subject: str = "", form: str = "write it as pkg.module:name") -> Any:
    """Return the object that the import path `path` names, such as `mynets:MyNet`. This runs the module's code.

    `subject` names the path in messages, `form` is the hint for text that is not an import path. Raises InputError for
    a module that does not exist or fails, and for a name that the module does not have.
    """
    subject = subject or repr(path)
    module_name, separator, attribute = path.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not separator or module_name.endswith(".py") or not all(part.isidentifier() for part in parts):
        hint = ""
        if module_name.endswith(".py"):
            dotted = module_name[:-3].removeprefix("./").replace("/", ".")
            hint = f"for the file {module_name}: {dotted}:{attribute or 'name'}; "
        raise InputError(f"{subject} is not an import path", hint + form)
    value: Any = import_module(module_name, subject)
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            public = [key for key in getattr(value, "__dict__", {}) if not key.startswith("_")]
            callables = [key for key in public if callable(getattr(value, key, None))]
            hint = suggestion(name, callables, f"it has: {', '.join(callables[:12]) or 'no functions or classes'}")
            raise InputError(f"{subject}: {module_name} has no {attribute!r}", hint) from None
        except Exception as error:  # user code
            raise InputError(f"{subject}: {describe_failure(error)}", "call it in Python to see where") from error
    return value
