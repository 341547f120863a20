"""Reads policies, `[{"where": …, "policy": …}]`, and writes what parliament finds in them, `[{"where", "issue", "detail"}]`."""

import json
import sys

from parliament import analyze_policy_string


def findings(policies):
    for policy in policies:
        for finding in analyze_policy_string(
            policy["policy"], include_community_auditors=True
        ).findings:
            yield {
                "where": policy["where"],
                "issue": finding.issue,
                "detail": finding.detail,
            }


json.dump(list(findings(json.load(sys.stdin))), sys.stdout, default=str)
