"""checkov, which judges each policy.

checkov keeps the policy of a resource by the path of its block. The instances of a module have one path, so the policy that is read first
would stand for those of all of them, and which one that is differs between two runs.
"""

import sys

from checkov.main import Checkov
from checkov.terraform.checks.utils.base_cloudsplaining_iam_scanner import (
    BaseTerraformCloudsplainingIAMScanner,
)


class Forgetful(dict):
    """A cache that reports no entry as present, so each policy is written before it is read."""

    def keys(self):
        return ()


BaseTerraformCloudsplainingIAMScanner.policy_document_cache = Forgetful()

if __name__ == "__main__":
    sys.exit(Checkov().run())
