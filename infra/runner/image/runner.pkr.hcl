# Images for runners, one per system and architecture:
#
#   npm run build
#   packer init infra/runner/image
#   packer build -only='*.al2023-arm64' -var region=eu-west-1 infra/runner/image

packer {
  required_version = ">= 1.9.0"
  required_plugins {
    amazon = {
      version = ">= 1.3.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the image is made."
}

variable "copy_to_regions" {
  type        = list(string)
  description = "Further regions that get it."
  default     = []
}

variable "subnet_id" {
  type        = string
  description = "Subnet with a way out; empty for the default VPC."
  default     = ""
}

variable "name" {
  type        = string
  description = "The image's name begins with it."
  default     = "hearth-runner"
}

variable "kms_key_id" {
  type        = string
  description = "Key of the image's snapshot; empty for the account's default."
  default     = ""
}

locals {
  version = formatdate("YYYYMMDD-hhmmss", timestamp())
  # Owners of the public images: Amazon's alias, and Canonical's account.
  amazon    = ["amazon"]
  canonical = ["099720109477"]
}

source "amazon-ebs" "runner" {
  region        = var.region
  ami_regions   = var.copy_to_regions
  subnet_id     = var.subnet_id
  encrypt_boot  = true
  kms_key_id    = var.kms_key_id
  imds_support  = "v2.0"
  ssh_timeout   = "5m"
  run_tags      = { Name = "${var.name} (being made)" }
  snapshot_tags = { Name = var.name }
  # A temporary key, deleted when the image is built.
  temporary_key_pair_type   = "ed25519"
  ssh_clear_authorized_keys = true

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
}

build {
  source "amazon-ebs.runner" {
    name          = "al2023-arm64"
    ami_name      = "${var.name}-al2023-arm64-${local.version}"
    instance_type = "m7g.large"
    ssh_username  = "ec2-user"
    source_ami_filter {
      owners      = local.amazon
      most_recent = true
      filters     = { name = "al2023-ami-2023.*-kernel-6.1-arm64", virtualization-type = "hvm" }
    }
  }

  source "amazon-ebs.runner" {
    name          = "al2023-x86_64"
    ami_name      = "${var.name}-al2023-x86_64-${local.version}"
    instance_type = "m7i.large"
    ssh_username  = "ec2-user"
    source_ami_filter {
      owners      = local.amazon
      most_recent = true
      filters     = { name = "al2023-ami-2023.*-kernel-6.1-x86_64", virtualization-type = "hvm" }
    }
  }

  source "amazon-ebs.runner" {
    name          = "ubuntu2404-arm64"
    ami_name      = "${var.name}-ubuntu2404-arm64-${local.version}"
    instance_type = "m7g.large"
    ssh_username  = "ubuntu"
    source_ami_filter {
      owners      = local.canonical
      most_recent = true
      filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*", virtualization-type = "hvm" }
    }
  }

  source "amazon-ebs.runner" {
    name          = "ubuntu2404-x86_64"
    ami_name      = "${var.name}-ubuntu2404-x86_64-${local.version}"
    instance_type = "m7i.large"
    ssh_username  = "ubuntu"
    source_ami_filter {
      owners      = local.canonical
      most_recent = true
      filters     = { name = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*", virtualization-type = "hvm" }
    }
  }

  # Tasks of the system's first boot hold the lock of the package manager.
  provisioner "shell" {
    inline = ["cloud-init status --wait || true", "mkdir -p /tmp/hearth-image"]
  }

  provisioner "file" {
    sources     = ["${path.root}/install.sh", "${path.root}/check.sh", "${path.root}/../../dist/aw-runner.mjs"]
    destination = "/tmp/hearth-image/"
  }

  provisioner "shell" {
    inline = ["chmod +x /tmp/hearth-image/*.sh", "sudo /tmp/hearth-image/install.sh", "sudo rm -r /tmp/hearth-image"]
  }

  # An instance launched from the image is new: cloud-init must run again.
  provisioner "shell" {
    inline = ["sudo cloud-init clean --logs --seed", "sudo rm -f /var/lib/aw-runner/runner.json"]
  }
}
