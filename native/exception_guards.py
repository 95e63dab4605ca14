"""Writes guards around C functions that are C++ inside.

llama.cpp's C API lets C++ exceptions through (a grammar that meets a token it forbids, a broken
character, a state file that ends early), and an exception that reaches Python's C code ends the process.
Each guard has the function's own signature, keeps the exception for ``lc_take_error()`` and returns
zero; macros put the guards in the functions' places in the generated binding.
"""

from __future__ import annotations

import copy
from pathlib import Path

from pycparser import c_ast, c_generator

from c_headers import is_function

PREFIX = "lcguard_"


def write_guards(nodes: list[c_ast.Node], includes: list[str], folder: Path) -> int:
    """Writes ``_guards.h`` (C) and ``_guards.cpp`` for every function in ``nodes``.

    Returns:
        How many functions got a guard.
    """
    generator = c_generator.CGenerator()
    prototypes, macros, bodies = [], [], []
    for node in nodes:
        if not is_function(node) or _is_variadic(node):
            continue
        guard, arguments = _renamed(node)
        signature = str(generator.visit(guard))
        result = str(generator.visit(_result_type(node)))
        prototypes.append(f"{signature};")
        macros.append(f"#define {node.name}(...) {PREFIX}{node.name}(__VA_ARGS__)")
        call = f"return {node.name}({', '.join(arguments)});"
        bodies.append(f"{signature} {{\n    return lc_guard<{result}>([&]() {{ {call} }});\n}}")
    header = "\n".join([*prototypes, "", *macros, ""])
    included = [f'#include "{name}"' for name in ("error.h", *includes)]
    source = "\n".join([*included, "", 'extern "C" {', *bodies, "}", ""])
    (folder / "_guards.h").write_text(header, encoding="utf-8")
    (folder / "_guards.cpp").write_text(source, encoding="utf-8")
    return len(bodies)


def _is_variadic(node: c_ast.Decl) -> bool:
    return node.type.args is not None and any(
        isinstance(parameter, c_ast.EllipsisParam) for parameter in node.type.args.params
    )


def _renamed(node: c_ast.Decl) -> tuple[c_ast.Decl, list[str]]:
    """The declaration under the guard's name, with its parameters named a0, a1, ..."""
    guard = copy.deepcopy(node)
    guard.storage = []
    guard.name = PREFIX + node.name
    _declared_name(guard.type.type).declname = guard.name
    arguments: list[str] = []
    for parameter in guard.type.args.params if guard.type.args else []:
        if _is_void(parameter):
            continue
        name = f"a{len(arguments)}"
        if isinstance(parameter, c_ast.Decl):
            parameter.name = name
        _declared_name(parameter.type).declname = name
        arguments.append(name)
    return guard, arguments


def _result_type(node: c_ast.Decl) -> c_ast.Typename:
    result = copy.deepcopy(node.type.type)
    _declared_name(result).declname = None
    return c_ast.Typename(None, [], None, result)


def _declared_name(node: c_ast.Node) -> c_ast.TypeDecl:
    while not isinstance(node, c_ast.TypeDecl):
        node = node.type
    return node


def _is_void(parameter: c_ast.Node) -> bool:
    kind = parameter.type
    return isinstance(kind, c_ast.TypeDecl) and getattr(kind.type, "names", None) == ["void"]
