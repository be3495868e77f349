#!/usr/bin/env python3
"""Judges journals of the ECS double by AWS's published service model, as botocore ships it.

Every line is one request with its answer: {service, operation, request, status, response, fault}; the tests' own hands on the
double have the service `hand`. The judge knows nothing of
the double or of Meridian; it reads shapes: required members, types, enums, ranges, and no member that the model lacks.
"""

import argparse
import collections
import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

import botocore.loaders
import botocore.model

# Said in a member's documentation, but missing from the enum of its shape.
DOCUMENTED = {"ServiceDeploymentLifecycleStage": {"PRE_PRODUCTION_TRAFFIC_SHIFT"}}

# Errors that any operation of a protocol may answer; the model lists only an operation's own.
COMMON = {
    "ecs": {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SerializationException",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "UnsupportedFeatureException",
    },
    "elbv2": {
        "AccessDenied",
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidAction",
        "InvalidClientTokenId",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "ResourceInUse",
        "Throttling",
        "ValidationError",
    },
}
COMMON["sts"] = COMMON["elbv2"]


class Judge:
    """Collects what breaks the model."""

    def __init__(self):
        loader = botocore.loaders.Loader()
        self.models = {
            name: botocore.model.ServiceModel(loader.load_service_model(name, "service-2"), name)
            for name in ("ecs", "elbv2", "sts")
        }
        self.seen = collections.Counter()

    def line(self, entry, refused_may_break=False):
        """What is wrong with one line, as sentences."""
        service, operation = entry["service"], entry["operation"]
        if service == "hand":
            return []
        model = self.models.get(service)
        if model is None:
            return [f"no service {service}"]
        if operation not in model.operation_names:
            unknown = f"{service} has no operation {operation!r}"
            return [] if refused_may_break and entry["status"] != 200 else [unknown]
        self.seen[f"{service}.{operation}"] += 1
        shapes = model.operation_model(operation)
        wrong = []
        request = entry["request"]
        if service != "ecs":
            request = tree(request, shapes.input_shape, wrong)
        check(request, shapes.input_shape, "request", wrong)
        if refused_may_break and entry["status"] != 200:
            wrong = []
        # A fault's answer is the wire's, not the double's.
        if entry.get("fault") is None:
            self.answer(entry, service, shapes, wrong)
        return [f"{service}.{operation}: {sentence}" for sentence in wrong]

    def answer(self, entry, service, shapes, wrong):
        status, response = entry["status"], entry["response"]
        if service == "ecs":
            if status == 200:
                check(response, shapes.output_shape, "answer", wrong)
            else:
                self.error(service, shapes, response.get("__type"), status, wrong)
                if not isinstance(response.get("message"), str):
                    wrong.append("an error without a message")
            return
        root = ElementTree.fromstring(response)
        space = root.tag.partition("}")[0] + "}"
        if space != "{" + self.models[service].metadata["xmlNamespace"] + "}":
            wrong.append(f"the answer's namespace is {space}")
        if status != 200:
            self.error(service, shapes, root.findtext(f"{space}Error/{space}Code"), status, wrong)
            return
        result = root.find(f"{space}{shapes.name}Result")
        if result is None:
            wrong.append(f"no {shapes.name}Result")
        elif shapes.output_shape is not None:
            check(from_xml(result, shapes.output_shape, space, "answer", wrong), shapes.output_shape, "answer", wrong)

    def error(self, service, shapes, code, status, wrong):
        own = {}
        for shape in shapes.error_shapes:
            declared = shape.metadata.get("error", {})
            own[declared.get("code", shape.name)] = declared.get("httpStatusCode")
        if code not in own and code not in COMMON[service]:
            wrong.append(f"{code} is no error of this operation ({', '.join(sorted(own))})")
        elif own.get(code) not in (None, status):
            wrong.append(f"{code} has the status {own[code]}, not {status}")


def check(value, shape, where, wrong):
    """Adds to `wrong` what in `value` breaks `shape`."""
    if shape is None:
        if value not in (None, {}, ""):
            wrong.append(f"{where} should be empty")
        return
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            wrong.append(f"{where} is no structure ({shape.name})")
            return
        if shape.metadata.get("document") or getattr(shape, "is_document_type", False):
            return
        for name in shape.required_members:
            if value.get(name) is None:
                wrong.append(f"{where}.{name} is required by {shape.name}")
        for name, member in value.items():
            if name not in shape.members:
                wrong.append(f"{where}.{name} is no member of {shape.name}")
            elif member is None:
                wrong.append(f"{where}.{name} is null")
            else:
                check(member, shape.members[name], f"{where}.{name}", wrong)
    elif kind == "list":
        if not isinstance(value, list):
            wrong.append(f"{where} is no list ({shape.name})")
            return
        bounds(len(value), shape, f"the length of {where}", wrong)
        for place, item in enumerate(value):
            check(item, shape.member, f"{where}[{place}]", wrong)
    elif kind == "map":
        if not isinstance(value, dict):
            wrong.append(f"{where} is no map ({shape.name})")
            return
        for key, item in value.items():
            check(item, shape.value, f"{where}.{key}", wrong)
    else:
        scalar(value, shape, where, wrong)


def scalar(value, shape, where, wrong):
    kind = shape.type_name
    types = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "long": int,
        "double": (int, float),
        "float": (int, float),
        "timestamp": (int, float, str),
    }[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        wrong.append(f"{where} is no {kind} ({shape.name}): {value!r}")
        return
    if kind == "string":
        words = set(shape.enum) | DOCUMENTED.get(shape.name, set()) if shape.enum else None
        if words is not None and value not in words:
            wrong.append(f"{where} is {value!r}, no {shape.name} ({', '.join(sorted(words))})")
        bounds(len(value), shape, f"the length of {where}", wrong)
    elif kind in ("integer", "long", "double", "float"):
        bounds(value, shape, where, wrong)


def bounds(number, shape, where, wrong):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and number < least:
        wrong.append(f"{where} is {number}, below {least} ({shape.name})")
    if most is not None and number > most:
        wrong.append(f"{where} is {number}, above {most} ({shape.name})")


def tree(form, shape, wrong):
    """The structure that the query protocol's flat names spell, scalars read by the model."""
    root = {}
    for name, text in form.items():
        if name in ("Action", "Version"):
            continue
        place = root
        parts = name.split(".")
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                wrong.append(f"request.{name} is both a scalar and a structure")
                return {}
        place[parts[-1]] = text
    return read(root, shape, "request", wrong)


def read(value, shape, where, wrong):
    if shape is None:
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: read(member, shape.members[name], f"{where}.{name}", wrong) if name in shape.members else member
            for name, member in value.items()
        }
    if kind == "list":
        if value == "":
            return []
        items = value.get("member") if isinstance(value, dict) and set(value) == {"member"} else None
        if not isinstance(items, dict) or sorted(map(int, items)) != list(range(1, len(items) + 1)):
            wrong.append(f"{where} does not spell a list")
            return []
        return [read(items[str(place)], shape.member, f"{where}[{place}]", wrong) for place in range(1, len(items) + 1)]
    return from_text(value, kind)


def from_text(value, kind):
    if not isinstance(value, str):
        return value
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("double", "float"):
            return float(value)
    except ValueError:
        return value
    if kind == "boolean":
        return {"true": True, "false": False}.get(value, value)
    return value


def from_xml(element, shape, space, where, wrong):
    kind = shape.type_name
    if kind == "structure":
        value = {}
        for child in element:
            name = child.tag.removeprefix(space)
            if name in value:
                wrong.append(f"{where}.{name} is there twice")
            if name in shape.members:
                value[name] = from_xml(child, shape.members[name], space, f"{where}.{name}", wrong)
            else:
                value[name] = child.text
        return value
    if kind == "list":
        strangers = [child.tag for child in element if child.tag != f"{space}member"]
        if strangers:
            wrong.append(f"{where} has {strangers[0]} among its members")
        return [from_xml(child, shape.member, space, f"{where}[{place}]", wrong) for place, child in enumerate(element)]
    return from_text(element.text or "", kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refused-may-break", action="store_true", help="requests may break the model if they were refused")
    parser.add_argument("journals", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    judge, lines, wrong = Judge(), 0, collections.Counter()
    for journal in args.journals:
        for text in journal.read_text().splitlines():
            lines += 1
            wrong.update(judge.line(json.loads(text), args.refused_may_break))
    for sentence, times in wrong.most_common():
        print(f"{sentence}  (x{times})")
    print(f"{lines} exchanges of {len(judge.seen)} operations, {sum(wrong.values())} breaks of the service model")
    if not lines:
        print("no exchange was judged", file=sys.stderr)
    return 1 if wrong or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
