output "subscription_id" {
  description = "Subscription that everything is in."
  value       = data.azurerm_client_config.current.subscription_id
}

output "resource_group" {
  description = "Resource group that everything is in."
  value       = local.resource_group_name
}

output "lake_url" {
  description = "Where users/, vipusers/ and products/ are."
  value       = "${azurerm_storage_account.lake.primary_dfs_endpoint}${azurerm_storage_container.bronze.name}/"
}

output "storage_account" {
  description = "Name of the Data Lake's storage account."
  value       = azurerm_storage_account.lake.name
}

output "sql_server" {
  description = "Host name of the SQL server with the database `orders`."
  value       = azurerm_mssql_server.playground.fully_qualified_domain_name
}

output "sql_login" {
  description = "With sign_in = keys: login of the SQL server."
  value       = local.keys ? local.sql_login : null
}

output "sql_password" {
  description = "With sign_in = keys: the password of that login (terraform output -raw sql_password)."
  value       = one(random_password.sql[*].result)
  sensitive   = true
}

output "eventhubs_namespace" {
  description = "Host name of the Event Hubs namespace; Kafka is on port 9093."
  value       = "${azurerm_eventhub_namespace.playground.name}.servicebus.windows.net"
}

output "identity_client_id" {
  description = "With sign_in = identity: client id of the identity that the generators sign in with."
  value       = one(azurerm_user_assigned_identity.generators[*].client_id)
}

output "container_groups" {
  description = "Names of the container groups."
  value       = flatten([for generator in module.generator : generator.names])
}

output "kubernetes_settings" {
  description = "With sign_in = identity: the content of infra/kubernetes/settings.env for this playground."
  value = local.identity ? join("\n", [
    for name, value in {
      AZURE_CLIENT_ID    = azurerm_user_assigned_identity.generators[0].client_id
      DATE_TO            = local.orders_until
      EVENTHUB_NAMESPACE = azurerm_eventhub_namespace.playground.name
      LAKE_URL           = local.lake_url
      SQL_DATABASE       = azurerm_mssql_database.orders.name
      SQL_READERS        = local.sql_readers
      SQL_SERVER         = azurerm_mssql_server.playground.fully_qualified_domain_name
    } : "${name}=${value}" if value != null
  ]) : null
}
