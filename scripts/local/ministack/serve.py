"""Runs MiniStack with two changes that the local cloud needs; both name what they replace, in a pinned version.

Usage: python serve.py <run folder>/   (the argument only marks the process, so that the cleanup finds it)
"""

import json
import sys

from ministack import app
from ministack.core.router import extract_access_key_id
from ministack.services import eventbridge, scheduler

# Signs for the services that the local cloud emulates; see scripts/local/publish.ts.
SERVICES_KEY = "LKIASERVICES"

# Interval of the evaluation of schedules, in seconds. The interval of MiniStack is 10 s.
SCHEDULE_TICK_SECONDS = 1

answer = eventbridge.handle_request


async def handle_request(method, path, headers, body, query_params):
    """PutEvents refuses sources that start with `aws.`, as AWS does, except from AWS's own services."""
    is_put = headers.get("x-amz-target", "").endswith(".PutEvents")
    if is_put and extract_access_key_id(headers, query_params) == SERVICES_KEY:
        eventbridge._ensure_default_bus()
        return eventbridge._put_events(json.loads(body), allow_aws_source=True)
    return await answer(method, path, headers, body, query_params)


eventbridge.handle_request = handle_request
scheduler._SCHEDULE_TICK_INTERVAL = SCHEDULE_TICK_SECONDS

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    app.main()
