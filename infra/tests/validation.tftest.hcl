# Bad values are refused in the plan. In each run every variable that is set has a bad value, and every one
# of them must be refused. (containers.py checks the ranges of whole numbers against the generators' own.)

mock_provider "azurerm" {}
mock_provider "http" {}
mock_provider "random" {}
mock_provider "time" {}

variables {
  check_images = false
}

run "bad_values" {
  command = plan

  variables {
    subscription_id      = "my-subscription"
    location             = "West Europe"
    name                 = "Data_Playground"
    resource_group_name  = "/subscriptions/x/resourceGroups/y"
    tags                 = { for number in range(46) : "tag${number}" => "" }
    sign_in              = "password"
    readers              = { me = { object_id = "me@example.com" } }
    sql_allowed_ips      = { home = "example.com" }
    sql_administrator    = { login_name = "me", object_id = "me@example.com" }
    sql_administrator_id = "object"
    kubernetes_issuer    = "oidc.example.com"
    lake_api             = "file"
    image_owner          = "Tkubica12"
    image_tag            = "a tag"
    seed                 = "-1"
    order_dates          = { from = "2021-01-01", to = "2021-01-01" }
    session_pause        = { mean = -1 }
    settings             = { gen-nothing = {} }
    cpu                  = 0
    stream_cpu           = 32
    memory               = 0.1
    log_format           = "xml"
    log_filter           = ""
    storage_replication  = "none"
    sql_sku              = "S0"
  }

  expect_failures = [
    var.subscription_id,
    var.location,
    var.name,
    var.resource_group_name,
    var.tags,
    var.sign_in,
    var.readers,
    var.sql_allowed_ips,
    var.sql_administrator,
    var.sql_administrator_id,
    var.kubernetes_issuer,
    var.lake_api,
    var.image_owner,
    var.image_tag,
    var.seed,
    var.order_dates,
    var.session_pause,
    var.settings,
    var.cpu,
    var.stream_cpu,
    var.memory,
    var.log_format,
    var.log_filter,
    var.storage_replication,
    var.sql_sku,
  ]
}

run "more_bad_values" {
  command = plan

  variables {
    name          = "a-name-that-is-far-too-long"
    readers       = { "a;b" = { object_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a06" } }
    seed          = "007"
    order_dates   = { from = "yesterday", to = "2021-01-01" }
    session_pause = { stddev = 86401 }
    log_filter    = "=="
  }

  expect_failures = [var.name, var.readers, var.seed, var.order_dates, var.session_pause, var.log_filter]
}

run "still_more_bad_values" {
  command = plan

  variables {
    # An application without its client id.
    readers          = { app = { object_id = "0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a06", kind = "application" } }
    seed             = "0x10"
    order_dates      = { from = "9999-01-01", to = "10000-01-01" }
    log_filter       = "info,"
    shards_per_group = 32
  }

  expect_failures = [var.readers, var.seed, var.order_dates, var.log_filter, var.shards_per_group]
}

# 240 vCPUs in 60 groups.
run "more_cores_than_the_quota" {
  command = plan

  variables {
    users_shards    = 60
    products_shards = 60
    orders_shards   = 60
    stream_shards   = 60
    stream_cpu      = 1
  }

  expect_failures = [random_string.suffix]
}

# 24 vCPUs in 240 groups.
run "more_groups_than_the_quota" {
  command = plan

  variables {
    users_shards     = 60
    products_shards  = 60
    orders_shards    = 60
    stream_shards    = 60
    cpu              = 0.1
    stream_cpu       = 0.1
    shards_per_group = 1
  }

  expect_failures = [random_string.suffix]
}

run "within_the_quota" {
  command = plan

  variables {
    users_shards    = 60
    products_shards = 60
    orders_shards   = 60
    stream_shards   = 60
    cpu             = 0.1
    stream_cpu      = 0.1
  }
}

run "fewer_sources_than_containers" {
  command = plan

  variables {
    concurrent_users = 3
    stream_shards    = 4
  }

  expect_failures = [random_string.suffix]
}
