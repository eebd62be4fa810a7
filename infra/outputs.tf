output "subscription_id" {
  description = "Subscription that everything is in."
  value       = data.azurerm_client_config.current.subscription_id
}

output "resource_group" {
  description = "Resource group that everything is in."
  value       = azurerm_resource_group.playground.name
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
  description = "With sign_in = keys: its password (terraform output -raw sql_password)."
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

output "logs" {
  description = "Commands that follow the log of each container group."
  value = [
    for group in local.container_groups :
    "az container logs --follow --resource-group ${azurerm_resource_group.playground.name} --name ${group}"
  ]
}

output "states" {
  description = "Command that tells which container groups still run (Running) and which are done (Succeeded)."
  value       = "az container list --resource-group ${azurerm_resource_group.playground.name} --query \"[].{name: name, id: id}\" --output tsv | while read -r name id; do echo \"$name $(az container show --ids $id --query instanceView.state --output tsv)\"; done"
}

output "take_sql" {
  description = "With sign_in = identity: command that makes you the SQL server's administrator once the orders are loaded (the generators' identity is it until then). It writes sql_administrator to a file, so that later applies keep it. Also give your address in sql_allowed_ips."
  value = local.identity ? join(" ", [
    "az ad signed-in-user show --output json",
    "--query '{sql_administrator: {login_name: userPrincipalName, object_id: id}}'",
    "> sql.auto.tfvars.json && terraform apply",
  ]) : null
}

locals {
  container_groups = concat(
    module.gen_users.names,
    module.gen_products.names,
    module.gen_orders.names,
    module.stream_pageviews.names,
  )
}

data "azurerm_client_config" "current" {}
