"""Sends the cases of standard input with PyPI's `cloudevents`; writes one status for each request."""

import base64
import json
import os
import sys
import urllib.error
import urllib.request

from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse


def made(case):
    attributes = dict(case["attributes"])
    if "time" in attributes:
        attributes["time"] = isoparse(attributes["time"])
    data = case.get("data")
    if data is not None:
        data = base64.b64decode(data["bytes"]) if "bytes" in data else data["value"]
    return CloudEvent(attributes=attributes, data=data)


def message(mode, events):
    if mode == "binary":
        return to_binary(events[0], JSONFormat())
    if mode == "structured":
        return to_structured(events[0], JSONFormat())
    # The SDK has the format of each event, and no message of several.
    body = b"[" + b",".join(JSONFormat().write(event) for event in events) + b"]"
    return HTTPMessage({"content-type": "application/cloudevents-batch+json"}, body)


def status(mode, events):
    sent = message(mode, [made(event) for event in events])
    headers = {**sent.headers, "authorization": os.environ["AUTHORIZATION"]}
    request = urllib.request.Request(os.environ["TARGET"], sent.body, headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        print(error.read().decode(), file=sys.stderr)
        return error.code


print(json.dumps([status(case["mode"], case["events"]) for case in json.load(sys.stdin)]))
