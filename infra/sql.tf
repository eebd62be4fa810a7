# The SQL server and its serverless database `orders`.

locals {
  sql_login = "playground"

  # The administrator creates the tables, loads them and admits the readers. By default, it is the generators'
  # identity.
  sql_administrator = local.identity ? (
    var.sql_administrator != null ? var.sql_administrator : {
      login_name = azurerm_user_assigned_identity.generators[0].name
      object_id = {
        principal = azurerm_user_assigned_identity.generators[0].principal_id
        client    = azurerm_user_assigned_identity.generators[0].client_id
      }[var.sql_administrator_id]
    }
  ) : null
}

resource "random_password" "sql" {
  count = local.keys ? 1 : 0

  length      = 32
  min_lower   = 1
  min_upper   = 1
  min_numeric = 1
  min_special = 1
  # Characters that need no escaping in a shell, a URL or a connection string.
  override_special = "-_.~"
}

resource "azurerm_mssql_server" "playground" {
  #checkov:skip=CKV_AZURE_113:The containers have no fixed network; the firewall lets in Azure and var.sql_allowed_ips only
  #checkov:skip=CKV2_AZURE_45:As above, a private endpoint would need a virtual network around everything that reads the data
  #checkov:skip=CKV2_AZURE_2:Synthetic data; vulnerability assessment needs the paid Defender for SQL
  #checkov:skip=CKV_AZURE_23:Synthetic data; nothing to audit
  #checkov:skip=CKV_AZURE_24:As above

  name                = local.unique_name
  location            = var.location
  resource_group_name = local.resource_group_name
  version             = "12.0"
  minimum_tls_version = "1.2"

  administrator_login          = local.keys ? local.sql_login : null
  administrator_login_password = local.keys ? random_password.sql[0].result : null

  dynamic "azuread_administrator" {
    for_each = local.identity ? [local.sql_administrator] : []

    content {
      login_username              = azuread_administrator.value.login_name
      object_id                   = azuread_administrator.value.object_id
      azuread_authentication_only = true
    }
  }

  tags = var.tags
}

# The containers have no fixed address, so the server accepts connections from Azure. 0.0.0.0 is
# not an address range but the server's switch "allow Azure services and resources".
resource "azurerm_mssql_firewall_rule" "azure" {
  #checkov:skip=CKV2_AZURE_34:Azure Container Instances without a virtual network come from any Azure address; login is still needed

  name             = "azure-services"
  server_id        = azurerm_mssql_server.playground.id
  start_ip_address = "0.0.0.0"
  end_ip_address   = "0.0.0.0"
}

resource "azurerm_mssql_firewall_rule" "allowed" {
  for_each = var.sql_allowed_ips

  name             = each.key
  server_id        = azurerm_mssql_server.playground.id
  start_ip_address = each.value
  end_ip_address   = each.value
}

resource "azurerm_mssql_database" "orders" {
  #checkov:skip=CKV_AZURE_224:Synthetic data; nothing to prove with a ledger
  #checkov:skip=CKV_AZURE_229:The data can be generated again at any time; zones would cost more

  name      = "orders"
  server_id = azurerm_mssql_server.playground.id

  sku_name = var.sql_sku
  # The lowest value that Azure offers for the SKU: an eighth of its vCores, at least 0.5.
  min_capacity                = max(0.5, tonumber(regex("[0-9]+$", var.sql_sku)) / 8)
  auto_pause_delay_in_minutes = 15
  max_size_gb                 = var.sql_max_size_gb
  # Generated data needs no backup in another region.
  storage_account_type = "Local"

  tags = var.tags
}
