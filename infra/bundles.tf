# Code of the functions and of the runner program. The source is dist beside the module, or the bucket in module.inputs.bundles.

data "aws_s3_object" "bundles" {
  count  = module.inputs.bundles == null ? 0 : 1
  bucket = module.inputs.bundles.bucket
  key    = "${module.inputs.bundles.prefix}bundles.json"

  lifecycle {
    postcondition {
      condition     = self.body != null
      error_message = "s3://${module.inputs.bundles.bucket}/${module.inputs.bundles.prefix}bundles.json has a content type that Terraform cannot read. Upload the file again with the content type application/json."
    }
    postcondition {
      condition     = module.inputs.bundles.sha256 == null ? true : sha256(self.body) == module.inputs.bundles.sha256
      error_message = "s3://${module.inputs.bundles.bucket}/${module.inputs.bundles.prefix}bundles.json has another SHA-256 than bundles.sha256. Either the release was changed in the bucket, or bundles.sha256 is that of another release: compare it with the output of sha256sum for dist/bundles.json of the release archive."
    }
  }
}

locals {
  # Relative to the root module where the source is relative, so that the plan is the same in every checkout.
  dist = "${module.inputs.folder}/../dist"
  # `npm run package` writes bundles.json: checksums in base64 for Lambda and in hex for sha256sum.
  remote_bundles = module.inputs.bundles == null ? null : jsondecode(data.aws_s3_object.bundles[0].body)

  runner_file    = "${local.dist}/aw-runner.mjs"
  runner_missing = module.inputs.bundles == null && !fileexists(local.runner_file)
  runner_sha256  = module.inputs.bundles == null ? (local.runner_missing ? "missing" : filesha256(local.runner_file)) : local.remote_bundles.runner.sha256
  # The checksum is part of the key, so the object that a launch template names never has another content.
  runner_key = "tools/aw-runner-${substr(local.runner_sha256, 0, 16)}.mjs"

  code = {
    for name in keys(local.functions) : name => module.inputs.bundles == null ? {
      file        = "${local.dist}/functions/${name}.zip"
      bucket      = null
      key         = null
      code_sha256 = fileexists("${local.dist}/functions/${name}.zip") ? filebase64sha256("${local.dist}/functions/${name}.zip") : null
      } : {
      file        = null
      bucket      = module.inputs.bundles.bucket
      key         = "${module.inputs.bundles.prefix}functions/${name}.zip"
      code_sha256 = try(local.remote_bundles.functions[name].code_sha256, null)
    }
  }
}

resource "aws_s3_object" "runner" {
  count       = module.inputs.bundles == null ? 1 : 0
  bucket      = module.warming.bucket_id
  key         = local.runner_key
  source      = local.runner_file
  source_hash = local.runner_sha256

  # S3 allows ten tags per object and rejects more. Cost allocation does not use tags of objects.
  override_provider {
    default_tags {
      tags = {}
    }
  }

  lifecycle {
    # An instance that starts during an apply may still fetch the program that the apply replaces.
    create_before_destroy = true
    precondition {
      condition     = !local.runner_missing
      error_message = "${local.runner_file} is missing. Run `npm ci && npm run build` in the repository, use a release archive, or set bundles."
    }
  }
}

resource "aws_s3_object_copy" "runner" {
  count  = module.inputs.bundles == null ? 0 : 1
  bucket = module.warming.bucket_id
  key    = local.runner_key
  source = "${module.inputs.bundles.bucket}/${module.inputs.bundles.prefix}aw-runner.mjs"

  override_provider {
    default_tags {
      tags = {}
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

# bundles.json has the checksums of the code, and lies beside it. Whoever may write to that bucket could change both.
check "checksum_of_bundles" {
  assert {
    condition     = module.inputs.bundles == null ? true : module.inputs.bundles.sha256 != null
    error_message = "bundles has no sha256, so whoever may write to the bucket decides what the functions and the runners run. Set bundles.sha256 to the output of sha256sum for dist/bundles.json of the release archive."
  }
}
