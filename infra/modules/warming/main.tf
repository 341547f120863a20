# The snapshot bucket, and the policies that allow writing to it. The function warming has the schedules of the sets.

data "aws_partition" "current" {}

locals {
  policy_names = { for set in var.sets : set => "${var.name_prefix}-warming-manage-${set}-${var.region_code}" }
}

resource "aws_s3_bucket" "this" {
  bucket = var.bucket_name
  tags   = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  # The function warming prunes current objects. These rules remove only incomplete uploads and old versions.
  rule {
    id     = "leftovers"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  # The build cache. Actions and entries of tools live for 14 days, and large outputs for 30, so that no action outlives one of its
  # outputs (shared/fleet/build-cache.ts). The last rule is for scopes that no group uses any more.
  dynamic "rule" {
    for_each = merge([for scope in var.cache_scopes : { for kind in local.cache_claims : "cache-${scope}-${kind}" => "cache/${scope}/${kind}/" }]...)
    content {
      id     = rule.key
      status = "Enabled"
      filter {
        prefix = rule.value
      }
      expiration {
        days = 14
      }
    }
  }
  rule {
    id     = "cache"
    status = "Enabled"
    filter {
      prefix = "cache/"
    }
    expiration {
      days = 30
    }
    # The bucket keeps versions for snapshots. Nobody restores an old version of the cache.
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_notification" "this" {
  bucket      = aws_s3_bucket.this.id
  eventbridge = true
}

resource "aws_s3_bucket_logging" "this" {
  count = var.access_logs == null ? 0 : 1

  bucket        = aws_s3_bucket.this.id
  target_bucket = var.access_logs.bucket
  target_prefix = coalesce(var.access_logs.prefix, "${var.bucket_name}/")
}

locals {
  # What is a claim of its writer, in contrast to an output, which proves itself by its digest.
  cache_claims = ["act", "ccache", "sccache", "gradle", "nx", "turborepo"]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # A promoted snapshot does not change, whoever asks: neither the instance that made it nor a function replaces an object. The
  # second condition leaves out the parts of a multipart upload. They create no object, and S3 accepts no If-None-Match with them.
  # (S3 User Guide, "Enforce conditional writes on Amazon S3 buckets")
  statement {
    sid       = "DenyReplacingSnapshots"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.this.arn}/sets/*/snapshots/*", "${aws_s3_bucket.this.arn}/sets/*/frames/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }
    condition {
      test     = "Bool"
      variable = "s3:ObjectCreationOperation"
      values   = ["true"]
    }
  }

  # A result that jobs have read does not change: whoever may write the scope can only add. Outputs can be stored again, because
  # their name is the digest of their content.
  statement {
    sid       = "DenyReplacingCacheClaims"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = [for kind in local.cache_claims : "${aws_s3_bucket.this.arn}/cache/*/${kind}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.bucket.json
}

data "aws_iam_policy_document" "manage" {
  for_each = toset(var.sets)

  # No access to the pointer and the run record: an instance writes snapshots, and the function warming promotes them. The
  # bucket policy allows new objects only. No DeleteObject: a delete marker would take the place of a snapshot.
  statement {
    sid     = "WriteSnapshots"
    actions = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    resources = [
      "${aws_s3_bucket.this.arn}/sets/${each.key}/snapshots/*",
      "${aws_s3_bucket.this.arn}/sets/${each.key}/frames/*",
    ]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn[*]
    content {
      sid       = "EncryptAndDecryptWithKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}

resource "aws_iam_policy" "manage" {
  for_each = toset(var.sets)

  name        = local.policy_names[each.key]
  description = "Write snapshots of the warming set ${each.key}."
  policy      = data.aws_iam_policy_document.manage[each.key].json
  tags        = var.tags
}
