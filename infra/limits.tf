# The ranges of the variables that are whole numbers, and the quota that all containers share. main.tf
# checks all of them at the same time, so that all errors are reported together.

locals {
  guid = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

  # [value, lowest, highest]; null selects the generator's default. Orders and pageviews refer to users
  # and products, so there must be at least one of each.
  whole_numbers = {
    sas_days             = [var.sas_days, 1, 365]
    users_count          = [var.users_count, 1, 2147483648]
    vip_count            = [var.vip_count, 0, 2147483648]
    products_count       = [var.products_count, 1, 2147483648]
    orders_count         = [var.orders_count, 0, 2147483647]
    products_rate        = [var.products_rate, 1, 1000000000]
    orders_rate          = [var.orders_rate, 1, 1000000000]
    concurrent_users     = [var.concurrent_users, 1, 100000]
    users_shards         = [var.users_shards, 0, 1000]
    products_shards      = [var.products_shards, 0, 1000]
    orders_shards        = [var.orders_shards, 0, 1000]
    stream_shards        = [var.stream_shards, 0, 1000]
    shards_per_group     = [var.shards_per_group, 1, 60]
    eventhubs_capacity   = [var.eventhubs_capacity, 1, 40]
    pageviews_partitions = [var.pageviews_partitions, 1, 32]
    sql_max_size_gb      = [var.sql_max_size_gb, 1, 4096]
    quota                = [var.quota, 1, 100000]
  }

  number_errors = [
    for name, number in local.whole_numbers : "${name} must be a whole number, ${number[1]} to ${number[2]}."
    if number[0] == null ? false : !try(number[0] >= number[1] && number[0] <= number[2] && floor(number[0]) == number[0], false)
  ]

  container_groups_needed = sum([for shards in values(local.shards) : ceil(shards / max(var.shards_per_group, 1))])
  vcpus_needed            = (var.users_shards + var.products_shards + var.orders_shards) * var.cpu + var.stream_shards * var.stream_cpu

  quota_errors = var.quota >= max(local.container_groups_needed, local.vcpus_needed) ? [] : [
    "The shards need ${local.container_groups_needed} container groups and ${local.vcpus_needed} vCPUs, more than the quota of ${var.quota}: start fewer shards, lower cpu, or have the quota raised and set the variable quota.",
  ]

  source_errors = try(var.concurrent_users >= var.stream_shards, true) ? [] : [
    "concurrent_users must be at least stream_shards (${var.stream_shards}): each container of the stream needs at least one source.",
  ]

  errors = concat(local.number_errors, local.quota_errors, local.source_errors)
}
