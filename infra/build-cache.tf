# The build cache: which group reads and writes which scope. The store is the bucket of the deployment, so nothing here has a price
# per hour. docs/build-cache.md describes trust levels and tools.

locals {
  build_cache = module.inputs.build_cache != null ? module.inputs.build_cache : var.remote != null || var.remote_cache != null || var.experimental_remote != null ? { disk_percent = 10 } : null

  # In the format of aw-runner's configuration; null for a group without a cache.
  group_caches = {
    for id, same in local.groups : id => local.build_cache == null || same[0].cache == "off" ? null : {
      mode        = same[0].cache
      scope       = same[0].cache_scope
      reads       = same[0].cache_reads
      diskPercent = local.build_cache.disk_percent
    }
  }
  cache_scopes = distinct(flatten([for id, cache in local.group_caches : concat([cache.scope], cache.reads) if cache != null]))
  # A scope is written by groups that name it themselves.
  written_scopes = distinct([for id, cache in local.group_caches : cache.scope if cache == null ? false : cache.mode == "write"])

  # The scopes that a group reads and that nobody writes.
  scopes_without_writer = {
    for id, cache in local.group_caches : id => cache == null ? [] : setsubtract(concat([cache.scope], cache.reads), local.written_scopes)
  }

  cache_problems = flatten([
    for id, group in local.stated_groups : [for problem, wrong in {
      "cache must be off, read or write"                                                                                                  = !contains(["off", "read", "write"], group.cache)
      "cache_scope and cache_reads must have 1 to 48 lower-case letters, digits and inner dashes"                                         = anytrue([for scope in concat([group.cache_scope], group.cache_reads) : !can(regex("^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$", scope))])
      "cache_reads must have at most 4 different scopes, without cache_scope, which is read anyway"                                       = length(distinct(concat([group.cache_scope], group.cache_reads))) != length(group.cache_reads) + 1 || length(group.cache_reads) > 4
      "cache_reads needs cache = \"read\" or \"write\""                                                                                   = group.cache == "off" && length(group.cache_reads) > 0
      "cache = \"${group.cache}\" needs build_cache. Add build_cache = {}"                                                                = group.cache != "off" && local.build_cache == null
      "cache = \"write\" needs job_isolation = \"clean\", because shared jobs find what an earlier job has claimed. Use cache = \"read\"" = group.cache == "write" && group.job_isolation == "shared"
      "a warming group uses no build cache, because its snapshot must be its own work. Remove cache"                                      = group.cache != "off" && contains(local.warming_groups, id)
    } : "${id}: ${problem}" if wrong]
  ])

  ignored_remote_attributes = flatten([
    for input, value in { remote = var.remote, remote_cache = var.remote_cache, experimental_remote = var.experimental_remote } :
    [for name in try(keys(value), []) : "${input}.${name}" if name != "remote_execution"]
  ])
}

resource "terraform_data" "cache_inputs" {
  lifecycle {
    precondition {
      condition     = length(local.cache_problems) == 0
      error_message = "Wrong cache settings of runner groups. ${join("; ", local.cache_problems)}."
    }
    precondition {
      condition     = alltrue([for scopes in values(local.scopes_without_writer) : length(scopes) == 0])
      error_message = "Groups that read scopes of the build cache that no group writes: ${join("; ", [for id, scopes in local.scopes_without_writer : "${id} reads ${join(" and ", scopes)}" if length(scopes) > 0])}. Give cache = \"write\" and that cache_scope to a group whose jobs you trust, or remove the scope."
    }
  }
}

# Warnings: who migrates keeps the inputs.
check "remote_attributes" {
  assert {
    condition     = length(local.ignored_remote_attributes) == 0
    error_message = "Inputs that have no effect, because the build cache has no servers: ${join(", ", local.ignored_remote_attributes)}. Remove them, and use build_cache = {} in place of remote, remote_cache and experimental_remote."
  }
}

check "unused_build_cache" {
  assert {
    condition     = local.build_cache == null || length(local.cache_scopes) > 0
    error_message = "The build cache has no effect: no runner group has cache = \"read\" or \"write\". Only groups that name it use it, because a group that writes is trusted by all that read its scope."
  }
}
