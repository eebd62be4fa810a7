# The generators, each started when what it writes to is ready. Environment variables as the
# generators' --help lists them; what is null is left out, because an empty value is an error.

locals {
  image_prefix = "ghcr.io/${var.image_owner}"

  # Which of the container's identities to sign in with.
  client_id    = local.identity ? azurerm_user_assigned_identity.generators[0].client_id : null
  identity_ids = local.identity ? [azurerm_user_assigned_identity.generators[0].id] : []

  environment = {
    AZURE_CLIENT_ID = local.client_id
    SEED            = var.seed
    LOG_FORMAT      = var.log_format
    RUST_LOG        = var.log_filter
  }
  lake_environment = {
    LAKE_URL = local.identity ? local.lake_url : null
  }
  lake_secrets = {
    STORAGE_SAS = local.storage_sas
  }
  highest_ids = {
    USER_MAX_ID    = var.users_count - 1
    PRODUCT_MAX_ID = var.products_count - 1
  }
}

module "gen_users" {
  source = "./modules/generator"

  name                = "gen-users"
  image               = "${local.image_prefix}/gen-users:${var.image_tag}"
  location            = azurerm_resource_group.playground.location
  resource_group_name = azurerm_resource_group.playground.name
  identity_ids        = local.identity_ids
  shards              = var.users_shards
  cpu                 = var.cpu
  memory              = var.memory
  tags                = var.tags

  environment = merge(local.environment, local.lake_environment, {
    COUNT     = var.users_count
    VIP_COUNT = min(var.vip_count, var.users_count)
  })
  secure_environment = local.lake_secrets

  depends_on = [time_sleep.role_assignments]
}

module "gen_products" {
  source = "./modules/generator"

  name                = "gen-products"
  image               = "${local.image_prefix}/gen-products:${var.image_tag}"
  location            = azurerm_resource_group.playground.location
  resource_group_name = azurerm_resource_group.playground.name
  identity_ids        = local.identity_ids
  shards              = var.products_shards
  cpu                 = var.cpu
  memory              = var.memory
  tags                = var.tags

  environment = merge(local.environment, local.lake_environment, {
    COUNT = var.products_count
    RATE  = var.products_rate
  })
  secure_environment = local.lake_secrets

  depends_on = [time_sleep.role_assignments]
}

module "gen_orders" {
  source = "./modules/generator"

  name                = "gen-orders"
  image               = "${local.image_prefix}/gen-orders:${var.image_tag}"
  location            = azurerm_resource_group.playground.location
  resource_group_name = azurerm_resource_group.playground.name
  identity_ids        = local.identity_ids
  shards              = var.orders_shards
  cpu                 = var.cpu
  memory              = var.memory
  tags                = var.tags

  environment = merge(local.environment, local.highest_ids, {
    COUNT        = var.orders_count
    RATE         = var.orders_rate
    DATE_FROM    = try(var.order_dates.from, null)
    DATE_TO      = try(var.order_dates.to, null)
    SQL_SERVER   = azurerm_mssql_server.playground.fully_qualified_domain_name
    SQL_DATABASE = azurerm_mssql_database.orders.name
    SQL_USER     = local.keys ? local.sql_login : null
  })
  secure_environment = {
    SQL_PASSWORD = local.keys ? random_password.sql[0].result : null
  }

  depends_on = [azurerm_mssql_firewall_rule.azure]
}

module "stream_pageviews" {
  source = "./modules/generator"

  name                = "stream-pageviews"
  image               = "${local.image_prefix}/stream-pageviews:${var.image_tag}"
  location            = azurerm_resource_group.playground.location
  resource_group_name = azurerm_resource_group.playground.name
  identity_ids        = local.identity_ids
  shards              = var.stream_shards
  cpu                 = var.cpu
  memory              = var.memory
  tags                = var.tags

  # It never ends by itself; when it can deliver no longer it ends non-zero to be started again.
  restart_policy = "Always"

  environment = merge(local.environment, local.highest_ids, {
    SESSION_PAUSE_MEAN   = var.session_pause.mean
    SESSION_PAUSE_STDDEV = var.session_pause.stddev
    CONCURRENT_USERS     = var.concurrent_users
    EVENTHUB_NAMESPACE   = azurerm_eventhub_namespace.playground.name
  })
  secure_environment = {
    EVENTHUB_CONNECTION_STRING_PAGEVIEWS = local.keys ? azurerm_eventhub_authorization_rule.send["pageviews"].primary_connection_string : null
    EVENTHUB_CONNECTION_STRING_STARS     = local.keys ? azurerm_eventhub_authorization_rule.send["stars"].primary_connection_string : null
  }

  depends_on = [azurerm_eventhub.hub, time_sleep.role_assignments]
}
