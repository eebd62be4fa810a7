# The generators, which are started when the destinations are ready. Their --help describes the environment
# variables. A variable whose value is null is left out, because an empty value is an error.

# The day until which there are orders, so that they reach the time of the live stream. Later applies do not change it:
# the generator refuses to continue orders of a different range.
resource "time_static" "first_apply" {}

locals {
  # GB of memory per container of the stream, by the formula in crates/stream-pageviews/README.md: 136 bytes for each open
  # session, which lasts 213 seconds on average. A load test (a mean of 0) keeps no sessions open. The defaults are
  # those of the generator.
  pause_mean    = coalesce(var.session_pause.mean, 10)
  pause_stddev  = coalesce(var.session_pause.stddev, 5)
  sources       = max(coalesce(var.concurrent_users, 1), var.stream_shards) / max(var.stream_shards, 1)
  open_sessions = local.pause_mean == 0 ? 0 : local.sources * (1 + 213 / max(local.pause_mean, 0.8 * local.pause_stddev))
  stream_memory = max(var.memory, ceil(10 * (0.15 + local.open_sessions * 136 / 1e9)) / 10)

  orders_until = try(var.order_dates.to, formatdate("YYYY-MM-DD", time_static.first_apply.rfc3339))

  shards = {
    gen-users        = var.users_shards
    gen-products     = var.products_shards
    gen-orders       = var.orders_shards
    stream-pageviews = var.stream_shards
  }
  started_generators = toset([for generator, shards in local.shards : generator if shards > 0])

  common_environment = {
    # Selects which of the container's identities signs in.
    AZURE_CLIENT_ID = one(azurerm_user_assigned_identity.generators[*].client_id)
    SEED            = var.seed
    LOG_FORMAT      = var.log_format
    RUST_LOG        = var.log_filter
  }
  lake_environment = {
    LAKE_URL = local.identity ? local.lake_url : null
  }
  highest_ids = {
    USER_MAX_ID    = var.users_count - 1
    PRODUCT_MAX_ID = var.products_count - 1
  }

  environment = {
    gen-users = merge(local.lake_environment, {
      COUNT     = var.users_count
      VIP_COUNT = min(var.vip_count, var.users_count)
    })
    gen-products = merge(local.lake_environment, {
      COUNT = var.products_count
      RATE  = var.products_rate
    })
    gen-orders = merge(local.highest_ids, {
      COUNT        = var.orders_count
      RATE         = var.orders_rate
      DATE_FROM    = try(var.order_dates.from, null)
      DATE_TO      = local.orders_until
      SQL_SERVER   = azurerm_mssql_server.playground.fully_qualified_domain_name
      SQL_DATABASE = azurerm_mssql_database.orders.name
      SQL_USER     = local.keys ? local.sql_login : null
      SQL_READERS  = local.sql_readers
    })
    stream-pageviews = merge(local.highest_ids, {
      SESSION_PAUSE_MEAN   = var.session_pause.mean
      SESSION_PAUSE_STDDEV = var.session_pause.stddev
      CONCURRENT_USERS     = var.concurrent_users
      EVENTHUB_NAMESPACE   = azurerm_eventhub_namespace.playground.name
    })
  }

  secure_environment = {
    gen-users    = { STORAGE_SAS = local.storage_sas }
    gen-products = { STORAGE_SAS = local.storage_sas }
    gen-orders   = { SQL_PASSWORD = one(random_password.sql[*].result) }
    stream-pageviews = {
      for hub, rule in azurerm_eventhub_authorization_rule.send :
      "EVENTHUB_CONNECTION_STRING_${upper(hub)}" => rule.primary_connection_string
    }
  }
}

module "generator" {
  source   = "./modules/generator"
  for_each = local.started_generators

  name                = each.key
  group_name          = "${local.unique_name}-${each.key}"
  image               = "ghcr.io/${var.image_owner}/${each.key}:${var.image_tag}"
  location            = var.location
  resource_group_name = local.resource_group_name
  identity_ids        = azurerm_user_assigned_identity.generators[*].id
  shards              = local.shards[each.key]
  shards_per_group    = var.shards_per_group
  cpu                 = each.key == "stream-pageviews" ? var.stream_cpu : var.cpu
  memory              = each.key == "stream-pageviews" ? local.stream_memory : var.memory
  tags                = var.tags

  # The stream never ends by itself: when it can no longer deliver, it exits with a non-zero code to be restarted.
  restart_policy = each.key == "stream-pageviews" ? "Always" : "OnFailure"

  environment        = merge(local.common_environment, local.environment[each.key], lookup(var.settings, each.key, {}))
  secure_environment = local.secure_environment[each.key]

  depends_on = [azurerm_mssql_firewall_rule.azure, azurerm_eventhub.hub, time_sleep.role_assignments]
}
