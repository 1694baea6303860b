"""Names and specs: `directpred(rho=0.3, epsilon=0.1)` -> the object it names.

A spec is `name` or `name(key=literal, ...)`. Every part of a method that a flag chooses (encoder,
projector, predictor, loss, optimizer, dataset) is one registered function or class, so a new one, and
its hyper-parameters, touch no configuration code.
"""

import ast
import inspect


def parse_spec(spec):
    """Splits a spec string into its name and its keyword arguments.

    Args:
        spec: `"name"` or `"name(key=literal, ...)"`; literals are Python's (numbers, strings, booleans,
            None, tuples, lists).

    Returns:
        `(name, kwargs)`.

    Raises:
        ValueError: the string is no such spec.
    """
    form = "name or name(key=value, ...)"
    try:
        node = ast.parse(spec.strip(), mode="eval").body
    except (SyntaxError, AttributeError, TypeError, ValueError):
        raise ValueError(f"A spec must read {form}. Received: {spec!r}") from None
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError(f"A spec must read {form}, with every argument named. Received: {spec!r}")
    kwargs = {}
    for keyword in node.keywords:
        if keyword.arg in kwargs:
            raise ValueError(f"A spec may set {keyword.arg} only once. Received: {spec!r}")
        try:
            kwargs[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            raise ValueError(
                f"The value of {keyword.arg} must be a Python literal (strings in quotes). Received: {spec!r}"
            ) from None
    if None in kwargs:
        raise ValueError(f"A spec must read {form}; '**' is not allowed. Received: {spec!r}")
    return node.func.id, kwargs


class Registry:
    """A table of named factories of one kind.

    Args:
        kind: what the members are, as error messages name it ("predictor").
    """

    def __init__(self, kind):
        self.kind = kind
        self._members = {}

    def register(self, name):
        """Decorator: enters a class or function under `name` (a Python identifier)."""

        def enter(member):
            if name in self._members:
                raise ValueError(f"The {self.kind} name {name!r} is taken by {self._members[name].__name__}")
            self._members[name] = member
            return member

        return enter

    def names(self):
        """All registered names, sorted."""
        return sorted(self._members)

    def __getitem__(self, name):
        if name not in self._members:
            raise ValueError(f"Unknown {self.kind} {name!r}. Known: {', '.join(self.names())}")
        return self._members[name]

    def signature(self, name):
        """`name(key=default, ...)` as a user would write it."""
        parameters = inspect.signature(self[name]).parameters.values()
        shown = [str(p) for p in parameters if p.kind is not p.VAR_KEYWORD]
        return f"{name}({', '.join(shown)})"

    def create(self, spec, fixed=(), **context):
        """Builds the member that `spec` names.

        Args:
            spec: a spec string.
            **context: what the calling code knows and a spec cannot (`input_shape`, `data_dir`); handed
                over where the member has a parameter of that name that the spec does not set.
            fixed: names of arguments that are not the spec's to set: they are flags.

        Raises:
            ValueError: unknown name (with the known ones), an argument the member does not take (with its
                signature), or a value it refuses.
        """
        name, kwargs = parse_spec(spec)
        member = self[name]
        parameters = inspect.signature(member).parameters
        accepted = {key for key, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        unknown = sorted(set(kwargs) - accepted)
        if unknown:
            raise ValueError(
                f"{self.kind} {name!r} takes no argument {', '.join(unknown)}. Allowed: {self.signature(name)}"
            )
        taken = sorted(set(kwargs) & set(fixed))
        if taken:
            flags = ", ".join(f"--{key}" for key in taken)
            raise ValueError(f"The {self.kind} spec may not set {', '.join(taken)}: pass {flags}. Received: {spec!r}")
        known = {key: value for key, value in context.items() if key in accepted}
        missing = sorted(
            key for key in accepted - set(kwargs) - set(known) if parameters[key].default is inspect.Parameter.empty
        )
        if missing:
            raise ValueError(f"{self.kind} {name!r} needs {', '.join(missing)}: {self.signature(name)}")
        try:
            return member(**{**known, **kwargs})
        except TypeError as error:
            raise ValueError(f"{self.kind} {spec!r}: {error}. Allowed: {self.signature(name)}") from error
