"""Checks recorded calls against botocore's models of AWS's services.

Reads a JSON list of recorded calls (scripts/local/gateway/call-recording.ts) and prints how many it has checked, and what AWS would not
know: operations, members of inputs, headers and query parameters.
"""

import json
import re
import sys

import botocore.session
from botocore.validate import ParamValidator

SERVICES = {"monitoring": "cloudwatch"}

# Headers of every call, by the SDK or by HTTP itself, and those of this local cloud.
COMMON_HEADERS = re.compile(
    r"^(host|accept|accept-encoding|authorization|user-agent|connection|content-length|content-type|content-encoding|transfer-encoding"
    r"|expect|amz-sdk-(request|invocation-id)|x-amz-(date|content-sha256|user-agent|security-token|decoded-content-length"
    r"|trailer|sdk-checksum-algorithm|checksum-[a-z0-9]+|checksum-mode)|x-amzn-trace-id|x-local-caller)$"
)
# Query parameters that select the operation, or name it in logs.
COMMON_QUERY = {"uploads", "x-id", "list-type"}

session = botocore.session.get_session()
models = {}


def model_of(service):
    name = SERVICES.get(service, service)
    if name not in models:
        models[name] = session.get_service_model(name)
    return models[name]


def problems_of(call):
    service, operation = call["service"], call["operation"]
    # A request to the URL of a function is no operation of an API.
    if operation == "InvokeFunctionUrl":
        return []
    model = model_of(service)
    if operation not in model.operation_names:
        return [f"{service} has no operation {operation}"]
    shape = model.operation_model(operation).input_shape
    sent = call["input"]
    if shape is None:
        return []
    if sent["kind"] == "json":
        return invalid(sent["body"], shape, operation)
    if sent["kind"] == "form":
        fields = {k: v for k, v in sent["fields"].items() if k not in ("Action", "Version")}
        params, problems = from_form(fields, shape, operation)
        return problems + invalid(params, shape, operation)
    return rest_problems(sent, shape, operation)


def invalid(params, shape, where):
    report = ParamValidator().validate(params, shape)
    return [f"{where}: {line}" for line in report.generate_report().splitlines()]


def from_form(fields, shape, where):
    """The structure that a form of the query protocol stands for: `A.member.1.B=x` is `{"A": [{"B": x}]}`."""
    params, problems = {}, []
    for name, value in fields.items():
        path = name.split(".")
        problem = put(params, path, value, shape)
        if problem:
            problems.append(f"{where}: {name}: {problem}")
    return params, problems


def put(params, path, value, shape):
    head, rest = path[0], path[1:]
    if head not in shape.members:
        return f"no member {head}"
    inner = shape.members[head]
    if inner.type_name == "list":
        if rest and rest[0] == "member":
            rest = rest[1:]
        if not rest:
            # An empty list.
            params.setdefault(head, [])
            return None
        items = params.setdefault(head, [])
        index = int(rest[0]) - 1
        while len(items) <= index:
            items.append({} if inner.member.type_name == "structure" else None)
        if inner.member.type_name == "structure":
            return put(items[index], rest[1:], value, inner.member)
        items[index] = scalar(value, inner.member)
        return None
    if inner.type_name == "structure":
        return put(params.setdefault(head, {}), rest, value, inner)
    params[head] = scalar(value, inner)
    return None


def scalar(value, shape):
    if shape.type_name in ("integer", "long"):
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    if shape.type_name in ("float", "double"):
        return float(value)
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(value, value)
    return value


def rest_problems(sent, shape, where):
    headers, queries = set(), set()
    prefixes = []
    for member in shape.members.values():
        place = member.serialization.get("location")
        name = member.serialization.get("name", "")
        if place == "header":
            headers.add(name.lower())
        elif place == "headers":
            prefixes.append(name.lower())
        elif place == "querystring":
            queries.add(name)
    problems = []
    for name in sent["headers"]:
        if name in headers or COMMON_HEADERS.match(name) or any(name.startswith(p) for p in prefixes):
            continue
        problems.append(f"{where}: no header {name}")
    for name in sent["query"]:
        if name not in queries and name not in COMMON_QUERY:
            problems.append(f"{where}: no query parameter {name}")
    return problems


calls = json.load(sys.stdin)
found = sorted({problem for call in calls for problem in problems_of(call)})
json.dump({"checked": len(calls), "problems": found}, sys.stdout)
