# Who the generators are when they sign in without a secret (sign_in = "identity").

resource "azurerm_user_assigned_identity" "generators" {
  count = local.identity ? 1 : 0

  name                = "${var.name}-generators"
  location            = azurerm_resource_group.playground.location
  resource_group_name = azurerm_resource_group.playground.name
  tags                = var.tags
}

resource "azurerm_role_assignment" "lake" {
  count = local.identity ? 1 : 0

  description          = "gen-users and gen-products write files"
  scope                = local.filesystem_id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.generators[0].principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "eventhubs" {
  for_each = { for name, hub in azurerm_eventhub.hub : name => hub if local.identity }

  description          = "stream-pageviews sends ${each.key}"
  scope                = each.value.id
  role_definition_name = "Azure Event Hubs Data Sender"
  principal_id         = azurerm_user_assigned_identity.generators[0].principal_id
  principal_type       = "ServicePrincipal"
}

# Role assignments take minutes to reach the services. gen-users and gen-products wait for theirs; the
# stream gives up after some seconds, to be started again by its container group. This spares them most
# of that.
resource "time_sleep" "role_assignments" {
  count = local.identity ? 1 : 0

  create_duration = "60s"

  depends_on = [azurerm_role_assignment.lake, azurerm_role_assignment.eventhubs]
}
